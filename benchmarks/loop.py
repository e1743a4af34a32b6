"""A peer's loop, held before each step until it is told to go, where the peer leaves the loop to its recipes.

It needs nothing of Tunesmith.
"""

import json
import os
import resource
import sys
import time
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

Step = Callable[[list[dict[str, Any]]], float]
"""One step on its rows; returns the loss, when the step is done."""


def run(peer: str, built: Callable[[dict[str, Any]], Step]) -> None:
    """Read the job that the command line names, build its step, and take it whenever a line comes in."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # whatever a library prints is talk
    job = json.loads(Path(sys.argv[1]).read_text())
    step = built(job)
    print(json.dumps({"ready": True}), file=answers, flush=True)
    for number in range(job["steps"]):
        if not sys.stdin.readline():
            return
        rows = job["rows"][number * job["batch"] : (number + 1) * job["batch"]]
        began = time.perf_counter()
        loss = step(rows)
        entry = {
            "loss": loss, "tokens": sum(len(r["ids"]) for r in rows), "seconds": time.perf_counter() - began,
            "gigabytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9,
            "versions": f"{peer} {version(peer)}, torch {version('torch')}",
        }  # fmt: skip
        print(json.dumps(entry), file=answers, flush=True)
