"""The conversation in the terminal."""

import io
import sys
from collections.abc import Iterator

import pytest

from tunesmith.cli.chat import converse


class _Echo:
    """A partner that repeats, and remembers what it was told."""

    def __init__(self) -> None:
        self.told: list[str] = []

    def reply(self, text: str) -> Iterator[str]:
        self.told.append(text)
        if text == "forever":
            yield "on and on"
            raise KeyboardInterrupt
        yield from text.split()

    def reset(self) -> None:
        self.told.append("(reset)")

    def system(self, text: str) -> None:
        self.told.append(f"(system {text})")


def _talk(monkeypatch: pytest.MonkeyPatch, lines: str) -> _Echo:
    monkeypatch.setattr(sys, "stdin", io.StringIO(lines))
    partner = _Echo()
    converse(partner)
    return partner


def test_only_the_answers_go_to_stdout(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    _talk(monkeypatch, "hello you\n\n/nonsense\nbye\n")
    told = capsys.readouterr()
    assert told.out == "helloyou\nbye\n"
    assert "/nonsense is not a command" in told.err


def test_commands_reach_the_partner_and_not_the_model(monkeypatch: pytest.MonkeyPatch) -> None:
    partner = _talk(monkeypatch, "/system Be brief.\nhi\n/reset\n/quit\nnever\n")
    assert partner.told == ["(system Be brief.)", "hi", "(reset)"]


def test_an_interrupt_ends_the_answer_and_not_the_conversation(monkeypatch: pytest.MonkeyPatch) -> None:
    assert _talk(monkeypatch, "forever\nstill here\n").told == ["forever", "still here"]
