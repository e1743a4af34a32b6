"""How a run hears that it should end."""

import signal

import pytest

from tunesmith.run import stopping


def test_the_first_signal_asks_and_its_echo_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stopping, "SAME_REQUEST", float("inf"))
    said: list[str] = []
    with stopping.stop_requests(said.append) as asked:
        assert not asked()
        signal.raise_signal(signal.SIGTERM)
        signal.raise_signal(signal.SIGINT)
        assert asked()
    assert len(said) == 1


def test_a_second_request_stops_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stopping, "SAME_REQUEST", 0.0)
    said: list[str] = []
    with stopping.stop_requests(said.append):
        signal.raise_signal(signal.SIGINT)
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
    assert "resumed" in said[-1]


def test_a_request_in_the_middle_of_a_line_is_heard_all_the_same() -> None:
    def busy(text: str) -> None:
        raise RuntimeError("reentrant call inside <_io.BufferedWriter>")

    with stopping.stop_requests(busy) as asked:
        signal.raise_signal(signal.SIGINT)
        assert asked()


def test_the_handlers_of_before_are_back_afterwards() -> None:
    before = [signal.getsignal(number) for number in stopping.SIGNALS]
    with stopping.stop_requests(lambda text: None):
        assert [signal.getsignal(number) for number in stopping.SIGNALS] != before
    assert [signal.getsignal(number) for number in stopping.SIGNALS] == before
