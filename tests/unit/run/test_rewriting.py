"""Answers in the model's own words: kept where they are right, for training alone, written once."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from tiny_model import chat_file

from tunesmith.data.example import Example, Message, Origin
from tunesmith.generation.decode import Completion
from tunesmith.models.sources import resolve
from tunesmith.recipe import load_recipe
from tunesmith.run import rewriting
from tunesmith.run.prepare import prepare
from tunesmith.run.rewriting import ASKED, rewriter, still_right
from tunesmith.tokens.encode import Encoder
from tunesmith.tokens.tokenizer import Tokenizer


def quiet(text: str) -> None:
    """Say nothing."""


@pytest.mark.parametrize(
    ("references", "answers", "right"),
    [
        (["so 3\n#### 3", "#### 4"], ["it is three.\n#### 3", "#### 5"], [True, False]),
        (["Paris", "Rome"], ["It is Paris.", "It is London."], [True, False]),
        (["yes", "no"] * 4, ["Yes.", "yes"] * 4, [True, False] * 4),
        (["a b c d " * 40, "e f g h " * 40], ["b a d c", "x y z"], [False, False]),
        (["the quick brown fox jumps over the lazy dog " * 4] * 2, ["quick brown fox jumps over lazy dog " * 4, ""],
         [True, False]),
    ],
)  # fmt: skip
def test_an_answer_is_kept_if_it_still_is_right(references: list[str], answers: list[str], right: list[bool]) -> None:
    assert still_right(answers, references) == right


def test_only_training_answers_are_rewritten_once_and_the_question_shows_the_answer(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TUNESMITH_HOME", str(tmp_path / "home"))
    encoder = Encoder(Tokenizer.load(folder))
    asked: list[str] = []

    def says_it_longer(model: Any, prompts: Sequence[Sequence[int]], **rest: Any) -> list[Completion]:
        asked.extend(encoder.tokenizer.decode(ids) for ids in prompts)
        return [Completion(tuple(encoder.tokenizer.encode("5.")), "stop") for _ in prompts]

    monkeypatch.setattr(rewriting, "generate", says_it_longer)
    data = chat_file(tmp_path / "train.jsonl")
    settings = [f"model={folder}", "data.validation=0.25", "data.test=0"]
    plain = prepare(load_recipe(str(data), settings), quiet).sets
    said: list[str] = []
    kept = prepare(load_recipe(str(data), [*settings, "keeping.rewrite=true"]), said.append).sets
    assert [e.ids.tolist() for e in kept.validation] == [e.ids.tolist() for e in plain.validation]
    pairs = zip(plain.train, kept.train, strict=True)
    changed = sum(a.ids.tolist() != b.ids.tolist() for a, b in pairs)
    assert any(f"rewrite: {changed:,} of" in text for text in said)
    assert 0 < changed < len(plain.train)
    assert all(ASKED.split("\n")[2] in text for text in asked)
    count = len(asked)
    prepare(load_recipe(str(data), [*settings, "keeping.rewrite=true"]), quiet)
    assert len(asked) == count


def test_what_is_no_plain_answer_is_left_alone(folder: Path) -> None:
    call = Message("assistant", "", tool_calls=({"id": "1", "type": "function"},))
    example = Example((Message("user", "a"), call), Origin("f", 1))
    assert rewriter(resolve(str(folder)), Encoder(Tokenizer.load(folder)), quiet)([example]) == [example]
