"""What was said is kept, found again by who said what to whom, and not asked twice."""

import json
from collections.abc import Sequence
from pathlib import Path

import pytest

from tunesmith.data.example import Message
from tunesmith.errors import DataError
from tunesmith.evaluation.said import AT_ONCE, Said


def conversations(*words: str) -> list[list[Message]]:
    return [[Message("system", "Be short."), Message("user", word)] for word in words]


class Speaker:
    """Says what was asked last in capitals, and remembers that it was asked; fails at `fatal`."""

    def __init__(self, fatal: str = "") -> None:
        self.asked: list[str] = []
        self.fatal = fatal

    def __call__(self, asked: Sequence[Sequence[Message]]) -> list[str]:
        words = [messages[-1].content for messages in asked]
        if self.fatal in words:
            raise KeyboardInterrupt
        self.asked += words
        return [word.upper() for word in words]


def test_what_was_said_before_a_stop_is_not_asked_again(tmp_path: Path) -> None:
    words = [f"word {i}" for i in range(AT_ONCE + 5)]
    first, again = Speaker(fatal=words[-1]), Speaker()
    with pytest.raises(KeyboardInterrupt):
        Said(tmp_path / "said.jsonl").by("a", first)(conversations(*words))
    said = Said(tmp_path / "said.jsonl")
    assert said.by("a", again)(conversations(*words)) == [word.upper() for word in words]
    assert (again.asked, said.taken) == (words[AT_ONCE:], AT_ONCE)


def test_another_speaker_or_another_word_is_asked_anew(tmp_path: Path) -> None:
    path = tmp_path / "said.jsonl"
    Said(path).by("a", Speaker())(conversations("one", "two"))
    other, changed = Speaker(), Speaker()
    Said(path).by("b", other)(conversations("one"))
    Said(path).by("a", changed)([*conversations("two", "three"), [Message("user", "one")]])
    assert other.asked == ["one"]
    assert changed.asked == ["three", "one"]


def test_a_line_that_was_cut_off_is_asked_again_and_leaves_no_trace(tmp_path: Path) -> None:
    path = tmp_path / "said.jsonl"
    Said(path).by("a", Speaker())(conversations("one", "two"))
    path.write_bytes(path.read_bytes()[:-20])
    again = Speaker()
    assert Said(path).by("a", again)(conversations("one", "two")) == ["ONE", "TWO"]
    assert again.asked == ["two"]
    assert [json.loads(line)["said"] for line in path.read_text().splitlines()] == ["ONE", "TWO"]


def test_a_line_that_is_something_else_is_named(tmp_path: Path) -> None:
    path = tmp_path / "said.jsonl"
    path.write_text('{"index": 1}\n')
    with pytest.raises(DataError, match=r"said\.jsonl:1"):
        Said(path)


def test_the_same_question_is_asked_once_and_memory_does_without_a_file() -> None:
    speaker = Speaker()
    assert Said().by("a", speaker)(conversations("one", "one")) == ["ONE", "ONE"]
    assert speaker.asked == ["one"]
