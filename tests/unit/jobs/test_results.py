"""Reading a run's journal while the run writes it."""

import json
from pathlib import Path

from tunesmith.jobs.results import Follower


def _write(journal: Path, steps: range, seconds: float, mode: str = "a") -> None:
    with journal.open(mode) as file:
        file.writelines(json.dumps({"step": step, "seconds": seconds}) + "\n" for step in steps)


def test_a_line_is_read_once_and_only_when_it_is_whole(tmp_path: Path) -> None:
    journal = tmp_path / "metrics.jsonl"
    follower = Follower(journal)
    assert follower.fresh() == []
    _write(journal, range(1, 3), 0.5)
    with journal.open("a") as file:
        file.write('{"step": 3')
    assert [entry["step"] for entry in follower.fresh()] == [1, 2]
    with journal.open("a") as file:
        file.write("}\n")
    assert [entry["step"] for entry in follower.fresh()] == [3]
    assert follower.fresh() == []


def test_a_journal_that_a_resumed_run_cut_back_is_read_from_its_beginning(tmp_path: Path) -> None:
    journal = tmp_path / "metrics.jsonl"
    follower = Follower(journal)
    _write(journal, range(1, 30), 0.5)
    follower.fresh()
    _write(journal, range(1, 21), 0.5, "w")  # cut back to step 20
    assert [entry["step"] for entry in follower.fresh()] == list(range(1, 21))
    _write(journal, range(21, 30), 0.5)
    follower.fresh()
    _write(journal, range(1, 21), 0.5, "w")
    _write(journal, range(21, 60), 0.1234)  # cut back and grown further between two looks
    assert [entry["step"] for entry in follower.fresh()] == list(range(1, 60))
