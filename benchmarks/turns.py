"""How a trainer of transformers is held before each step until it is told to go, and tells of the step afterwards.

To be imported first: from then on whatever a library prints is talk, and goes to stderr. It needs nothing of Tunesmith.
"""

import json
import os
import resource
import sys
import time
from typing import Any

ANSWERS = os.fdopen(os.dup(1), "w")
os.dup2(2, 1)

import torch  # noqa: E402
import transformers  # noqa: E402


def say(entry: dict[str, Any]) -> None:
    """One answer."""
    print(json.dumps(entry), file=ANSWERS, flush=True)


class Turns(transformers.TrainerCallback):
    """Waits for its turn before each step, and tells of it afterwards, when its loss is known."""

    def __init__(self, job: dict[str, Any], peer: str) -> None:
        rows, batch = job["rows"], job["batch"]
        self.tokens = [sum(len(r["ids"]) for r in rows[n : n + batch]) for n in range(0, len(rows), batch)]
        self.versions = f"{peer}, torch {torch.__version__}, transformers {transformers.__version__}"
        self.began, self.seconds = 0.0, 0.0

    def on_train_begin(self, *args: Any, **kwargs: Any) -> None:
        say({"ready": True})

    def on_step_begin(self, *args: Any, **kwargs: Any) -> None:
        sys.stdin.readline()
        self.began = time.perf_counter()

    def on_step_end(self, *args: Any, **kwargs: Any) -> None:
        self.seconds = time.perf_counter() - self.began

    def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **kwargs: Any) -> None:
        if not logs or "loss" not in logs:
            return
        entry = {
            "loss": float(logs["loss"]), "tokens": self.tokens[state.global_step - 1], "seconds": self.seconds,
            "gigabytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9, "versions": self.versions,
        }  # fmt: skip
        say(entry)
