"""Another set is made, the one that it was made of stays, and the report accounts for every record."""

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from tunesmith.data.inspection import inspect
from tunesmith.data.reading import read_examples
from tunesmith.errors import DataError, UsageError
from tunesmith.run.reshape import (
    Order,
    balance_file,
    clean_file,
    convert_file,
    dedup_file,
    mix_files,
    sample_file,
    split_file,
)

ROWS = [{"prompt": f"question {i}", "completion": "ABC"[i % 3 if i % 2 else 0], "user": i // 5} for i in range(40)]


@pytest.fixture
def file(tmp_path: Path) -> str:
    """Forty rows of three classes from eight users."""
    return _file(tmp_path / "a.jsonl", ROWS)


def _file(path: Path, rows: list[dict[str, Any]]) -> str:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return str(path)


def _answers(path: Path) -> Counter[str]:
    return Counter(json.loads(line)["messages"][-1]["content"] for line in path.read_text().splitlines())


def test_a_file_is_converted_and_the_report_says_how(file: str, tmp_path: Path) -> None:
    before = Path(file).read_bytes()
    done = convert_file(Order("convert", tmp_path / "out.jsonl"), file, "alpaca")
    assert json.loads((tmp_path / "out.jsonl").read_text().splitlines()[0])["instruction"] == "question 0"
    report = json.loads(done.report.read_text())
    assert report["command"] == "tunesmith data convert"
    assert report["sources"][0] | {"sha256": ""} == {
        "format": "prompt_completion", "sha256": "", "read": 40, "examples": 40, "dropped": {}
    }  # fmt: skip
    assert report["written"] == {str(tmp_path / "out.jsonl"): 40}
    assert Path(file).read_bytes() == before


@pytest.mark.parametrize("name", ["out.jsonl", "out.jsonl.report.json", "a.jsonl"])
def test_nothing_that_exists_is_overwritten(name: str, file: str, tmp_path: Path) -> None:
    if name != "a.jsonl":
        (tmp_path / name).write_text("mine")
    out = tmp_path / ("a.jsonl" if name == "a.jsonl" else "out.jsonl")
    before = {path: path.read_bytes() for path in tmp_path.iterdir()}
    with pytest.raises(UsageError, match="never overwritten"):
        dedup_file(Order("dedup", out), file)
    assert {path: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_records_of_one_field_value_stay_together(file: str, tmp_path: Path) -> None:
    done = split_file(Order("split", tmp_path / "parts"), file, validation=0.2, test=0.2, by="user")
    parts = {path.stem: [json.loads(line) for line in path.read_text().splitlines()] for path in done.written}
    users = {side: {int(row["messages"][0]["content"].split()[1]) // 5 for row in rows} for side, rows in parts.items()}
    assert set(users) == {"train", "validation", "test"}
    assert sum(len(part) for part in users.values()) == 8
    with pytest.raises(UsageError, match="no record has the field 'client'"):
        split_file(Order("split", tmp_path / "other"), file, validation=0.1, test=0.1, by="client")


def test_a_stratified_split_gives_each_part_its_share_of_the_classes(file: str, tmp_path: Path) -> None:
    split_file(Order("split", tmp_path / "parts"), file, validation=0, test=0.25, stratified=True)
    assert _answers(tmp_path / "parts" / "test.jsonl") == Counter(A=7, C=2, B=1)


def test_what_stands_twice_is_left_out_and_reported(tmp_path: Path) -> None:
    done = dedup_file(Order("dedup", tmp_path / "out.jsonl"), _file(tmp_path / "a.jsonl", [*ROWS, ROWS[3]]))
    (change,) = json.loads(done.report.read_text())["changes"]
    assert (change["name"], change["line"]) == ("duplicate", 41)
    assert done.written == {tmp_path / "out.jsonl": 40}


def test_what_held_out_data_give_away_is_left_out_and_named(tmp_path: Path) -> None:
    long = "how many hours may a parcel from the north wait at the station before it is sent back"
    held_out = _file(tmp_path / "test.jsonl", [ROWS[3], {"prompt": long, "completion": "A"}])
    inside = {"prompt": f"Please tell me: {long}? And why is it so, and for whom, and since when?", "completion": "B"}
    nearly = {"prompt": f"{long} again", "completion": "B"}
    train = _file(tmp_path / "train.jsonl", [*ROWS[:10], inside, nearly])
    done = dedup_file(Order("dedup", tmp_path / "apart.jsonl"), train, against=[held_out])
    assert [(f.name, f.line) for f in done.findings] == [("leak", 4), ("contamination", 11), ("contamination", 12)]
    assert done.written == {tmp_path / "apart.jsonl": 9}
    short = _file(tmp_path / "short.jsonl", [{"prompt": "my parcel from far away is not here", "completion": "A"}])
    alike = _file(tmp_path / "alike.jsonl", [{"prompt": "my parcel from far away is not", "completion": "A"}])
    options = {"near": 0.8, "against": [short]}
    near = dedup_file(Order("dedup", tmp_path / "near.jsonl", drop=True), alike, **options)
    assert [(f.name, f.line) for f in near.findings] == [("near-leak", 1)]


def test_held_out_records_that_could_not_be_compared_stand_in_the_report(file: str, tmp_path: Path) -> None:
    held_out = _file(tmp_path / "test.jsonl", [ROWS[3], {"prompt": "Q", "completion": ""}])
    done = dedup_file(Order("dedup", tmp_path / "apart.jsonl"), file, against=[held_out])
    assert [(f.name, f.line) for f in done.findings] == [("held-out-unread", None), ("leak", 4)]
    assert [change["name"] for change in json.loads(done.report.read_text())["changes"]] == ["held-out-unread", "leak"]


def test_held_out_data_of_which_nothing_can_be_read_are_refused_not_found_clean(file: str, tmp_path: Path) -> None:
    (tmp_path / "test.jsonl").write_text("no JSON\n")
    with pytest.raises(DataError, match=r"test\.jsonl: .*no example"):
        dedup_file(Order("dedup", tmp_path / "apart.jsonl"), file, against=[str(tmp_path / "test.jsonl")])
    with pytest.raises(DataError, match=r"test\.jsonl: .*no example"):
        inspect(file, against={"test.jsonl": str(tmp_path / "test.jsonl")})


def test_the_same_seed_draws_the_same_sample_from_a_file_in_another_order(file: str, tmp_path: Path) -> None:
    turned = _file(tmp_path / "b.jsonl", ROWS[::-1])
    for number, source in enumerate((file, turned)):
        sample_file(Order("sample", tmp_path / f"{number}.jsonl", seed=7), source, 9, "balanced")
    lines = [sorted((tmp_path / f"{number}.jsonl").read_text().splitlines()) for number in range(2)]
    assert lines[0] == lines[1]
    assert _answers(tmp_path / "0.jsonl") == Counter(A=3, B=3, C=3)


def test_a_diverse_sample_has_the_size_that_was_asked_for(file: str, tmp_path: Path) -> None:
    assert sample_file(Order("sample", tmp_path / "o.jsonl"), file, 5, "diverse").written == {tmp_path / "o.jsonl": 5}


def test_classes_become_equal(file: str, tmp_path: Path) -> None:
    balance_file(Order("balance", tmp_path / "under.jsonl"), file, "under")
    assert len(set(_answers(tmp_path / "under.jsonl").values())) == 1


def test_a_mixture_keeps_its_shares_and_reports_the_passes(file: str, tmp_path: Path) -> None:
    other = _file(tmp_path / "b.jsonl", [{"prompt": f"other {i}", "completion": "Z"} for i in range(5)])
    done = mix_files(Order("mix", tmp_path / "out.jsonl"), [file, other], weights=[3, 1], count=40)
    assert _answers(tmp_path / "out.jsonl")["Z"] == 10
    assert json.loads(done.report.read_text())["options"]["passes"] == [0.75, 2.0]
    with pytest.raises(UsageError, match="above 0"):
        mix_files(Order("mix", tmp_path / "other.jsonl"), [file, other], temperature=0)


def test_only_the_named_fixes_are_made_and_each_is_listed(tmp_path: Path) -> None:
    source = _file(tmp_path / "a.jsonl", [*ROWS, {"prompt": "q", "completion": " yes\r\nno "}])
    done = clean_file(Order("clean", tmp_path / "out.jsonl"), source, ["carriage-return"])
    assert _answers(tmp_path / "out.jsonl")[" yes\nno "] == 1
    assert [(f.name, f.line) for f in done.findings] == [("carriage-return", 41)]


def test_a_bad_record_stops_unless_it_may_be_dropped(tmp_path: Path) -> None:
    source = _file(tmp_path / "a.jsonl", [*ROWS, {"prompt": "q", "completion": ""}])
    with pytest.raises(DataError, match="go on without them: --drop"):
        dedup_file(Order("dedup", tmp_path / "out.jsonl"), source)
    assert not (tmp_path / "out.jsonl").exists()
    done = dedup_file(Order("dedup", tmp_path / "out.jsonl", drop=True), source)
    assert json.loads(done.report.read_text())["sources"][0]["dropped"] == {"empty-answer": 1}


def test_what_is_written_is_read_again_as_it_was(file: str, tmp_path: Path) -> None:
    convert_file(Order("convert", tmp_path / "out.jsonl"), file, "messages")
    before, after = read_examples(file).examples, read_examples(tmp_path / "out.jsonl").examples
    assert [e.messages for e in before] == [e.messages for e in after]  # type: ignore[union-attr]
