"""How a run hears that it should end."""

import os
import signal

import pytest

from tunesmith.run import stopping


def test_the_first_signal_asks_and_its_echo_changes_nothing() -> None:
    said: list[str] = []
    with stopping.stop_requests(said.append) as asked:
        assert not asked()
        os.kill(os.getpid(), signal.SIGTERM)
        os.kill(os.getpid(), signal.SIGINT)
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


def test_the_handlers_of_before_are_back_afterwards() -> None:
    before = [signal.getsignal(number) for number in stopping.SIGNALS]
    with stopping.stop_requests(lambda text: None):
        assert [signal.getsignal(number) for number in stopping.SIGNALS] != before
    assert [signal.getsignal(number) for number in stopping.SIGNALS] == before
