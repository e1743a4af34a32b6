"""The inspection finds in one pass what the functions for sets in memory find."""

import json
from collections.abc import Sequence
from pathlib import Path

import pytest

from tunesmith.data import inspection, portions, repeats
from tunesmith.data.duplicates import repeated
from tunesmith.data.example import Example, Origin, Passage
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


class _Beside:
    """Counts what it is shown, and fails at a portion if asked."""

    def __init__(self, fails_at: int | None = None) -> None:
        self.looked, self.told, self._fails_at = 0, list[bytes](), fails_at

    def look(self, items: Sequence[Item]) -> bytes:
        if self.looked == self._fails_at:
            raise KeyboardInterrupt
        self.looked += 1
        examples = sum(isinstance(item, Example) for item in items)
        return f"{examples} examples, {len(items) - examples} findings".encode()

    def take(self, told: bytes) -> None:
        self.told.append(told)


def test_everything_is_found_in_one_pass_and_the_books_balance(tmp_path: Path) -> None:
    beside = _Beside()
    found = inspect(_file(tmp_path / "a.jsonl", ROWS), beside=beside)
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
    assert beside.told == [b"5 examples, 1 findings"]


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


def test_held_out_records_that_cannot_be_used_are_told(tmp_path: Path) -> None:
    held_out = _file(tmp_path / "test.jsonl", [*ROWS[:2], {"prompt": "Q", "completion": ""}])
    found = inspect(_file(tmp_path / "train.jsonl", ROWS[4:5]), against={"test": held_out}, personal=False)
    (finding,) = found.findings
    assert (finding.name, finding.file, finding.line) == ("held-out-unread", "test", None)
    assert finding.message.startswith("1 of its 3 records cannot be used")
    assert "test.jsonl:3" in finding.message


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


def test_repetition_is_found_in_any_number_of_files() -> None:
    with repeats.Repeats(near=False) as found:
        found.take([f"{i}.txt" for i in range(2**16)], found.numbers().arrays())
        numbers = found.numbers()
        for name in ("a.txt", "b.txt"):
            numbers.look(Passage("the same", Origin(name, 1)))
        found.take(numbers.names, numbers.arrays())
        (twice,) = found.exact()
    assert (twice.file, twice.other) == ("b.txt", Origin("a.txt", 1))


def _many(path: Path) -> Path:
    rows = [{"prompt": f"{LONG} {i % 40}", "completion": f"answer {i}"} for i in range(60)]
    return _file(path, [*rows, *ROWS])


@pytest.mark.parametrize("crash", ["between", "within"])
def test_an_interrupted_inspection_goes_on_and_finds_what_an_uninterrupted_one_finds(
    crash: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    by_ten = portions.portions
    monkeypatch.setattr(inspection, "portions", lambda items: by_ten(items, 10))
    file, held_out, kept = _many(tmp_path / "a.jsonl"), _file(tmp_path / "test.jsonl", ROWS[:1]), tmp_path / "x.parts"
    uninterrupted = _Beside()
    expected = inspect(file, against={"test": held_out}, beside=uninterrupted)
    with pytest.raises(KeyboardInterrupt):
        inspect(file, against={"test": held_out}, beside=_Beside(fails_at=4), kept=kept)
    if crash == "within":  # the last portion was not written to its end
        kept.write_bytes(kept.read_bytes()[:-100])
    going_on = _Beside()
    assert inspect(file, against={"test": held_out}, beside=going_on, kept=kept) == expected
    assert going_on.told == uninterrupted.told
    assert (going_on.looked, uninterrupted.looked) == (3 if crash == "between" else 4, 7)
    assert not kept.exists()


def test_what_another_inspection_holds_is_left_to_it(tmp_path: Path) -> None:
    file, kept = _many(tmp_path / "a.jsonl"), tmp_path / "x.parts"
    with portions.Kept(kept) as first:
        first.add(b"a result")
        assert inspect(file, kept=kept).survey.examples == 65
        assert kept.stat().st_size > 0


def test_the_examples_of_one_record_are_in_one_portion() -> None:
    items = [Passage(str(i), Origin("a", line)) for i, line in enumerate((1, 2, 2, 2, 3, 4))]
    assert [len(part) for part in portions.portions(items, 2)] == [4, 2]
