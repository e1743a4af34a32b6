import json
from pathlib import Path

import pytest

from tunesmith import disk
from tunesmith.errors import CheckpointError, TrainingError
from tunesmith.training.journal import Journal, read


def test_what_is_appended_is_read_in_order(tmp_path: Path) -> None:
    with Journal(tmp_path / "metrics.jsonl") as journal:
        journal.append({"step": 1, "loss": 2.5})
        journal.append({"step": 2, "loss": 1.5, "validation_loss": 1.75})
    assert read(tmp_path / "metrics.jsonl") == [
        {"step": 1, "loss": 2.5},
        {"step": 2, "loss": 1.5, "validation_loss": 1.75},
    ]


def test_a_journal_cut_to_a_checkpoint_goes_on_as_if_never_interrupted(tmp_path: Path) -> None:
    straight, resumed = tmp_path / "straight", tmp_path / "resumed"
    with Journal(straight) as journal:
        for step in (1, 2, 3):
            journal.append({"step": step})
    with Journal(resumed) as journal:
        journal.append({"step": 1})
        length = journal.sync()
        journal.append({"step": 2})
    with resumed.open("ab") as torn:
        torn.write(b'{"ste')
    with Journal(resumed) as journal:
        journal.cut(length)
        assert journal.length == length
        journal.append({"step": 2})
        journal.append({"step": 3})
    assert resumed.read_bytes() == straight.read_bytes()


@pytest.mark.parametrize("altered", [b'{"step":2}\n', b'{"step":', b""])
def test_a_journal_that_is_not_that_of_the_checkpoint_is_refused(tmp_path: Path, altered: bytes) -> None:
    with Journal(tmp_path / "metrics.jsonl") as journal:
        journal.append({"step": 1})
        length, sha256 = journal.sync(), journal.sha256
        journal.append({"step": 2})
        journal.require(length, sha256)
        with pytest.raises(CheckpointError, match="altered since"):
            journal.require(journal.length + 1, None)
    (tmp_path / "metrics.jsonl").write_bytes(altered)
    with Journal(tmp_path / "metrics.jsonl") as journal, pytest.raises(CheckpointError, match="altered since"):
        journal.require(length, sha256)


def test_the_sum_of_a_journal_is_that_of_its_bytes_after_a_cut_too(tmp_path: Path) -> None:
    with Journal(tmp_path / "metrics.jsonl") as journal:
        journal.append({"step": 1})
        length = journal.length
        journal.append({"step": 2})
        journal.cut(length)
        journal.append({"step": 3})
        assert journal.sha256 == disk.sha256_of(journal.path)


def test_a_number_that_is_not_finite_stays_readable_json_and_keeps_its_name(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    with Journal(path) as journal:
        journal.append({"step": 1, "loss": float("inf"), "grad_norm": float("nan")})

    def refuse(word: str) -> None:
        raise AssertionError(f"{word} is not JSON")

    json.loads(path.read_text(), parse_constant=refuse)
    assert read(path) == [
        {"step": 1, "loss": None, "grad_norm": None, "not_finite": {"loss": "inf", "grad_norm": "nan"}}
    ]


def test_the_line_that_a_crash_left_unfinished_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    path.write_bytes(b'{"step":1}\n{"step":')
    assert read(path) == [{"step": 1}]


@pytest.mark.parametrize("line", [b"{broken", b"[1]", b"\xff"])
def test_a_broken_line_is_named_by_its_number(tmp_path: Path, line: bytes) -> None:
    path = tmp_path / "metrics.jsonl"
    path.write_bytes(b'{"step":1}\n' + line + b"\n")
    with pytest.raises(CheckpointError, match=r"metrics\.jsonl:2"):
        read(path)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a device that is always full")
def test_a_full_disk_is_told_in_a_sentence() -> None:
    with Journal(Path("/dev/full")) as journal, pytest.raises(TrainingError, match="the disk is full"):
        journal.append({"step": 1})
