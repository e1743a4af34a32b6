"""What Weights & Biases is told of a job: through a library that is played, and through the real one, offline."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tunesmith.jobs.mirror import OVER
from tunesmith.jobs.tables import Job

pytestmark = pytest.mark.whole

PLAYED = """
import json
class Run:
    def log(self, metrics, step): open("told.jsonl", "a").write(json.dumps([step, metrics]) + "\\n")
    def finish(self): open("told.jsonl", "a").write('"finished"\\n')
def init(**given):
    open("begun.json", "w").write(json.dumps(given))
    return Run()
"""


def test_a_job_tells_each_step_once_to_the_project_that_its_client_named(
    bench: Any, finished: Callable[[Job], Job], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    library = tmp_path / "library"
    library.mkdir()
    (library / "wandb.py").write_text(PLAYED)
    monkeypatch.syspath_prepend(str(library))
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(library), os.environ.get("PYTHONPATH", "")]))
    monkeypatch.setenv("WANDB_MODE", "offline")
    told = {"type": "wandb", "wandb": {"project": "support", "name": "try", "entity": "us", "tags": ["a"]}}
    job = finished(bench.create(integrations=[told]))
    assert (job.status, job.integrations) == ("succeeded", [told])
    folder = bench.home.job(job.id)
    begun = json.loads((folder / "begun.json").read_text())
    assert begun == {
        "id": job.id, "name": "try", "project": "support", "entity": "us", "resume": "allow",
        "tags": ["a", "tunesmith/finetune", job.id],
    }  # fmt: skip
    *steps, end = [json.loads(line) for line in (folder / "told.jsonl").read_text().splitlines()]
    assert [step for step, _ in steps] == [1, 2, 3, 4, 5, 6]
    assert steps[2][1]["valid_loss"] == pytest.approx(2 / 3)
    assert end == "finished"


def test_a_library_that_fails_is_told_of_and_the_job_is_not_affected(
    bench: Any, finished: Callable[[Job], Job], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "wandb.py").write_text("raise RuntimeError('away')")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")]))
    monkeypatch.setenv("WANDB_MODE", "offline")
    job = finished(bench.create(integrations=[{"type": "wandb", "wandb": {"project": "support"}}]))
    assert job.status == "succeeded"
    assert "Weights & Biases did not take the metrics; the job is not affected" in bench.messages(job)


def test_the_real_library_writes_the_metrics_to_its_own_file_without_a_network(tmp_path: Path) -> None:
    pytest.importorskip("wandb", reason="wandb is not installed")
    (tmp_path / "run").mkdir()
    entries = [{"step": n, "loss": 1 / n, "accuracy": 0.5} for n in (1, 2, 3)]
    (tmp_path / "run" / "metrics.jsonl").write_text("".join(json.dumps(entry) + "\n" for entry in entries))
    (tmp_path / OVER).touch()
    place = {name: str(tmp_path / name) for name in ("WANDB_CACHE_DIR", "WANDB_CONFIG_DIR", "WANDB_DATA_DIR")}
    done = subprocess.run(
        [sys.executable, "-m", "tunesmith.jobs.mirror", "ftjob-1", json.dumps({"project": "support"})],
        cwd=tmp_path, env={**os.environ, **place, "WANDB_MODE": "offline"}, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    (written,) = tmp_path.glob("wandb/offline-run-*/run-ftjob-1.wandb")
    assert written.read_bytes().count(b"train_loss") >= len(entries)
