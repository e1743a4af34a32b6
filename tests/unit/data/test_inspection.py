"""The inspection finds in one pass what the functions for sets in memory find."""

import json
from pathlib import Path

import pytest

from tunesmith.data import repeats
from tunesmith.data.checks import Finding
from tunesmith.data.duplicates import repeated
from tunesmith.data.example import Example
from tunesmith.data.inspection import Item, inspect
from tunesmith.data.reading import read_examples

LONG = " ".join(f"word{i}" for i in range(40))
ROWS = [
    {"prompt": LONG, "completion": "A"},
    {"prompt": LONG + " more", "completion": "A"},
    {"prompt": LONG, "completion": "A"},
    {"prompt": LONG, "completion": "B"},
    {"prompt": "quite different", "completion": "write to anna.k@firm.de"},
    {"prompt": "Q", "completion": ""},
]


def _file(path: Path, rows: list[dict[str, str]]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def test_everything_is_found_in_one_pass_and_the_books_balance(tmp_path: Path) -> None:
    seen: list[Item] = []
    found = inspect(_file(tmp_path / "a.jsonl", ROWS), watch=seen.append)
    assert {(f.name, f.line) for f in found.findings} == {
        ("near-duplicate", 2),
        ("duplicate", 3),
        ("conflicting-answers", 4),
        ("near-duplicate", 4),
        ("personal-data", 5),
        ("empty-answer", 6),
    }
    assert (found.format, found.read, found.usable, found.dropped) == ("prompt_completion", 6, 5, {"empty-answer": 1})
    assert found.survey.examples == 5
    assert sum(isinstance(item, Example) for item in seen) == 5
    assert sum(isinstance(item, Finding) for item in seen) == 1


def test_it_agrees_with_the_comparison_in_memory(tmp_path: Path) -> None:
    file = _file(tmp_path / "a.jsonl", ROWS)
    names = {"duplicate", "near-duplicate", "conflicting-answers"}
    in_memory = {(f.name, f.line) for f in repeated(read_examples(file).examples)}
    assert {(f.name, f.line) for f in inspect(file).findings if f.name in names} == in_memory


def test_what_stands_in_held_out_data_is_found_exactly_nearly_and_inside(tmp_path: Path) -> None:
    question = "what is the boiling point of ethanol at sea level in summer"
    held_out = _file(tmp_path / "test.jsonl", [ROWS[0], {"prompt": question, "completion": "78"}])
    inside = {"prompt": f"Answer this: {question}, please, and say why it is so and not otherwise", "completion": "A"}
    train = _file(tmp_path / "train.jsonl", [*ROWS[:2], inside, ROWS[4]])
    found = inspect(train, against={"test": held_out}, personal=False)
    leaks = [(f.name, f.line) for f in found.findings if f.name != "near-duplicate"]
    assert leaks == [("leak", 1), ("contamination", 2), ("contamination", 3), ("near-leak", 2)]


def test_held_out_data_are_read_as_told_or_else_as_recognised(tmp_path: Path) -> None:
    train = _file(tmp_path / "train.jsonl", [{"question": LONG, "answer": "A"}])
    options = {"fields": {"prompt": "question", "completion": "answer"}}
    for name, row in (("same", {"question": LONG, "answer": "A"}), ("other", {"prompt": LONG, "completion": "A"})):
        held_out = _file(tmp_path / f"{name}.jsonl", [row])
        assert inspect(train, options=options, against={name: held_out}, personal=False).totals["leak"] == 1


def test_without_near_only_exact_repetition_is_looked_for(tmp_path: Path) -> None:
    found = inspect(_file(tmp_path / "a.jsonl", ROWS), near=None, personal=False)
    assert set(found.totals) == {"duplicate", "conflicting-answers", "empty-answer"}


def test_signatures_decide_where_too_many_examples_are_nearly_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = [{"prompt": f"{LONG} {LONG} {i}", "completion": str(i)} for i in range(30)]
    file = _file(tmp_path / "a.jsonl", rows)
    assert inspect(file).totals["near-duplicate"] == 29
    monkeypatch.setattr(repeats, "EXACTLY", 5)
    assert inspect(file).totals["near-duplicate"] == 29
