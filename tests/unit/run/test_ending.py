"""What a run says of the process before it."""

from pathlib import Path

import pytest

from tunesmith.run import ending


def test_a_process_that_ends_by_itself_leaves_no_mark(tmp_path: Path) -> None:
    with ending.marked(tmp_path):
        assert ending.diagnosis(tmp_path, 512) is not None
    assert ending.diagnosis(tmp_path, 512) is None


def test_an_error_is_an_end_by_itself(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="bad"), ending.marked(tmp_path):
        raise ValueError("bad")
    assert ending.diagnosis(tmp_path, 512) is None


def test_a_kill_for_lack_of_memory_is_named_with_the_setting(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    counter = tmp_path / "vmstat"
    monkeypatch.setattr(ending, "_COUNTERS", counter)
    counter.write_text("pgfault 1\noom_kill 3\n")
    with ending.marked(tmp_path):
        counter.write_text("pgfault 9\noom_kill 4\n")
        assert "training.micro_batch_tokens=256" in str(ending.diagnosis(tmp_path, 512))


def test_a_kill_for_another_reason_is_only_said(tmp_path: Path) -> None:
    with ending.marked(tmp_path):
        assert "going on from its last checkpoint" in str(ending.diagnosis(tmp_path, 512))
