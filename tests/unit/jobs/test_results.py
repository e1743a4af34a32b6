"""What a run leaves behind: its journal, read while it is written, and checkpoints that can be served."""

import json
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from tunesmith.errors import CheckpointError
from tunesmith.jobs.results import Follower, publish_checkpoints
from tunesmith.run.folder import require_whole, seal


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


def test_a_checkpoint_that_is_served_knows_its_own_sums(tmp_path: Path) -> None:
    run, stored = tmp_path / "run", tmp_path / "run" / "checkpoints" / "step-3"
    for folder, name, value in ((run / "final", "base_model.model.q.weight", 1.0), (stored, "q", 2.0)):
        folder.mkdir(parents=True)
        file = "adapter_model.safetensors" if name != "q" else "weights.safetensors"
        save_file({name: np.full((2, 2), value, np.float32)}, folder / file)
    (run / "final" / "adapter_config.json").write_text("{}")
    seal(run / "final")
    ((_, folder),) = publish_checkpoints(run, tmp_path / "served", [{"step": 3, "epoch": 1}])
    require_whole(folder)
    assert load_file(folder / "adapter_model.safetensors")["base_model.model.q.weight"][0, 0] == 2
    (folder / "adapter_config.json").unlink()
    (folder / "adapter_config.json").write_text("{ }")
    with pytest.raises(CheckpointError, match="is not what was saved"):
        require_whole(folder)
