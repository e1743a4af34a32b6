"""losses.f32: the loss of every example each time that it was trained, four bytes each.

The decision: which example is trained when is a pure function of seed and position, so the file holds nothing but
numbers in the order of the steps, and its length after a step is known without being remembered: a resumed run cuts it
there. Numbers that are gone or no longer have the checkpoint's sum stop no run: they are not known (NaN).
"""

import hashlib
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np
from numpy.typing import NDArray

from tunesmith import disk
from tunesmith.batches.order import permutation, steps_per_epoch
from tunesmith.errors import TrainingError

FILE = "losses.f32"
_WIDTH = 4


class ExampleLosses:
    """The losses of a run over `count` examples, open for appending; what an interrupted run left stays until `cut`."""

    def __init__(self, path: Path, *, count: int, batch_size: int) -> None:
        self.path = path
        self._count, self._batch_size = count, batch_size
        self._file = path.open("ab", buffering=0)
        self._sum = hashlib.sha256()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        self._file.close()

    def cut(self, step: int, sha256: str | None, warn: Callable[[str], object]) -> None:
        """The file ends where it did after `step` updates, when its bytes had the sum `sha256`.

        Warns where they have another one; None is of a run that has no sum yet.
        """
        epoch, within = divmod(step, steps_per_epoch(self._count, self._batch_size))
        seen = (epoch * self._count + within * self._batch_size) * _WIDTH
        held = self.path.read_bytes()[:seen]
        if sha256 is not None and hashlib.sha256(held).hexdigest() != sha256:
            warn(f"{self.path}: it was altered since the checkpoint, so losses of examples until then are not known.")
            held = b""
        held = held[: len(held) // _WIDTH * _WIDTH]  # a crash may have cut a number in two
        self._file.truncate(len(held))
        self._file.seek(len(held))
        self._sum = hashlib.sha256(held)
        self.append([float("nan")] * ((seen - len(held)) // _WIDTH))

    def append(self, losses: Sequence[float]) -> None:
        """The losses of the next step, in the order of its examples.

        Raises:
            TrainingError: the disk refused.
        """
        numbers = np.asarray(losses, dtype="<f4").tobytes()
        self._sum.update(numbers)
        try:
            disk.write_all(self._file, numbers)
        except OSError as error:
            raise TrainingError(f"{self.path}: cannot be written: {disk.cause(error)}, then resume.") from error

    def sync(self) -> str:
        """Everything so far is on the disk; returns the sum (hex) of it."""
        os.fsync(self._file.fileno())
        return self._sum.hexdigest()


def read_losses(path: Path, *, count: int, seed: int) -> NDArray[np.float32]:
    """The losses of a run by epoch and example, [epochs, count]; NaN where an example has not been trained yet."""
    flat = np.fromfile(path, dtype="<f4", count=path.stat().st_size // _WIDTH)
    found = np.full((-(-len(flat) // count), count), np.nan, dtype=np.float32)
    for epoch in range(len(found)):
        seen = flat[epoch * count : (epoch + 1) * count]
        found[epoch, permutation(seed, epoch, count)[: len(seen)]] = seen
    return found
