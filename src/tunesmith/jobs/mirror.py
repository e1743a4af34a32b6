"""A job's metrics, told to Weights & Biases while it runs.

The decision: this is a process beside the training, which reads the same journal as everybody; so a service that is
slow, away, or refuses the key disturbs no job. The client's own library does the rest, offline too (`WANDB_MODE`).
Run as a module: `python -m tunesmith.jobs.mirror JOB SETTINGS`, in the job's folder, until the file `mirrored` says
that nothing more comes. (A signal could come before this process listens for it.)
"""

import importlib.util
import json
import os
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tunesmith.jobs.results import Follower, metrics

EVERY = 2.0
OVER = "mirrored"
"""In a job's folder: the file that is there once its journal is complete."""


def missing(environment: Mapping[str, str] = os.environ) -> str | None:
    """Why this machine tells Weights & Biases nothing; None where it can."""
    if importlib.util.find_spec("wandb") is None:
        return "the package wandb is not installed on this server"
    if not (environment.get("WANDB_API_KEY") or environment.get("WANDB_MODE") == "offline"):
        return "this server has no WANDB_API_KEY (nor WANDB_MODE=offline)"
    return None


def main(job: str, settings: Mapping[str, Any]) -> None:
    """Tell what the journal holds, and then what it grows by."""
    import wandb

    run = wandb.init(
        id=job, name=settings.get("name") or job, project=settings["project"], entity=settings.get("entity"),
        tags=[*(settings.get("tags") or ()), "tunesmith/finetune", job], resume="allow",
    )  # fmt: skip
    journal, told = Follower(Path("run/metrics.jsonl")), 0
    while True:
        last = Path(OVER).exists()
        for entry in journal.fresh():
            if entry["step"] > told:  # a journal that was cut back by a resume tells some steps again
                told = entry["step"]
                run.log(metrics(entry), step=told)
        if last:
            run.finish()
            return
        time.sleep(EVERY)


if __name__ == "__main__":
    main(sys.argv[1], json.loads(sys.argv[2]))
