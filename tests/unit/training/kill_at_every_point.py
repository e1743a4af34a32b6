"""Saves a checkpoint of step 2 over one of step 1, killed at one named point after the other.

    python kill_at_every_point.py FOLDER [--again]

Leaves FOLDER/<place of the point>/, each as a real SIGKILL left it. `--again` saves step 1 a second time instead.
"""

import os
import signal
import sys
from pathlib import Path
from typing import get_args

import torch

from tunesmith.training import checkpoint


def save(root: Path, step: int, value: float, point: str | None = None) -> None:
    def kill_at(reached: str) -> None:
        if reached == point:
            os.kill(os.getpid(), signal.SIGKILL)

    tensors = {"model": {"weight": torch.full((8,), value)}, "optimizer": {"weight.step": torch.tensor(value)}}
    checkpoint.save(root, step, tensors, {"value": value}, keep=1, reached=kill_at)


def main() -> None:
    folder, step = Path(sys.argv[1]), 1 if "--again" in sys.argv else 2
    for place, point in enumerate(get_args(checkpoint.Point)):
        save(folder / str(place), 1, 1.0)
        child = os.fork()
        if child == 0:
            save(folder / str(place), step, 2.0, point)
            os._exit(0)
        _, status = os.waitpid(child, 0)
        if not os.WIFSIGNALED(status):
            sys.exit(f"the save never reached {point!r}")


if __name__ == "__main__":
    main()
