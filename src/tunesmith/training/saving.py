"""Checkpoints that are written while the next step is computed.

The decision: a step only reads the weights until its very end, so a thread streams them out meanwhile, from where they
lie, and the next update waits until the last byte has left; no second copy is ever made. A save that fails is told
of at that moment, and a run does not end before its last save has.
"""

import time
from collections.abc import Collection, Mapping
from pathlib import Path
from threading import Event, Thread
from types import TracebackType
from typing import Self

from pydantic import JsonValue
from torch import Tensor

from tunesmith.training import checkpoint

SHARE = 30
"""Where nothing says how often to save: at most one part of so many of a run's time."""


class Saver:
    """Saves the checkpoints under `root`, one after the other, the last `keep` of them and those protected.

    `waited` counts the seconds in which training stood still for it.
    """

    def __init__(self, root: Path, keep: int) -> None:
        self.waited = 0.0
        self._root, self._keep = root, keep
        self._thread: Thread | None = None
        self._streamed, self._stopped = Event(), Event()
        self._streamed.set()
        self._failed: BaseException | None = None
        self._began = time.monotonic()
        self._took = 0.0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        if kind is None:
            self.finish()
        else:
            self._stopped.set()
            self._join()

    @property
    def affords(self) -> bool:
        """Whether enough time has passed since the last save for another one to cost little."""
        return time.monotonic() - self._began >= SHARE * self._took

    @property
    def age(self) -> float:
        """Seconds since the last save began, or since there is a saver."""
        return time.monotonic() - self._began

    def begin(
        self,
        step: int,
        tensors: Mapping[str, Mapping[str, Tensor]],
        state: Mapping[str, JsonValue],
        *,
        protect: Collection[int] = (),
    ) -> None:
        """The checkpoint of `step` is being saved. The tensors may not change before `release` has returned.

        Raises:
            CheckpointError: the save before this one failed.
        """
        self.finish()
        self._streamed.clear()
        self._began = time.monotonic()

        def save() -> None:
            try:
                checkpoint.save(
                    self._root, step, tensors, state, keep=self._keep, protect=protect, reached=self._reached
                )
            except BaseException as error:
                self._failed = error
            self._took = time.monotonic() - self._began
            self._streamed.set()

        self._thread = Thread(target=save, name=f"saving step {step}")
        self._thread.start()

    def release(self) -> None:
        """Return when the tensors may change again.

        Raises:
            CheckpointError: the save failed.
        """
        began = time.monotonic()
        self._streamed.wait()
        self.waited += time.monotonic() - began
        self._tell()

    def finish(self) -> None:
        """Return when what was begun is saved.

        Raises:
            CheckpointError: the save failed.
        """
        began = time.monotonic()
        self._join()
        self.waited += time.monotonic() - began
        self._tell()

    def _reached(self, point: checkpoint.Point) -> None:
        if self._stopped.is_set() and not self._streamed.is_set():
            raise InterruptedError  # to `save` a disk that refuses: what is half written goes, what was there stays
        if point == "state written":
            self._streamed.set()

    def _join(self) -> None:
        if self._thread is not None:
            self._thread.join()
            self._thread = None

    def _tell(self) -> None:
        failed, self._failed = self._failed, None
        if failed is not None:
            raise failed
