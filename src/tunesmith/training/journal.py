"""metrics.jsonl: what was measured, one JSON object a line, step by step.

The decision: the journal is a file of bytes with a length. A checkpoint remembers the length and the sum of the bytes,
and a resumed run cuts the file back to it, so the finished journal is that of a run never interrupted. JSON has no NaN:
a number that is not finite is written as null and named under `not_finite` ({"loss": null, "not_finite": {"loss":
"inf"}}), so every reader of JSON can read the file and nothing is lost.

Keys of a step: `step` (completed updates, from 1), `loss`, `learning_rate`, `grad_norm`, and for this step alone
`tokens` (of the data), `computed_tokens`, `supervised_tokens`, `seconds`; `validation_loss` and metrics where measured.
"""

import hashlib
import math
import os
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import orjson
from pydantic import JsonValue

from tunesmith import disk
from tunesmith.errors import CheckpointError, TrainingError


class Journal:
    """A journal open for appending; made when absent. What an interrupted run left stays until `cut`."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file = path.open("ab", buffering=0)
        self._sum = hashlib.sha256()  # of what was there before, once it is cut

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        self.close()

    @property
    def length(self) -> int:
        """Bytes written so far: what a checkpoint remembers."""
        return self._file.tell()

    def append(self, entry: Mapping[str, JsonValue]) -> None:
        """`entry` is the next line, and visible to other processes at once.

        Raises:
            TrainingError: the disk refused.
        """
        line = orjson.dumps(_finite(entry), option=orjson.OPT_APPEND_NEWLINE)
        self._sum.update(line)
        try:
            disk.write_all(self._file, line)
        except OSError as error:
            raise TrainingError(f"{self.path}: cannot be written: {disk.cause(error)}, then resume.") from error

    def sync(self) -> int:
        """Every line so far is on the disk; returns `length`.

        Raises:
            TrainingError: the disk refused.
        """
        try:
            os.fsync(self._file.fileno())
        except OSError as error:
            raise TrainingError(f"{self.path}: cannot be written: {disk.cause(error)}, then resume.") from error
        return self.length

    @property
    def sha256(self) -> str:
        """The sum (hex) of the bytes so far: what a checkpoint remembers beside `length`."""
        return self._sum.hexdigest()

    def require(self, length: int, sha256: str | None) -> None:
        """Return only if the first `length` bytes are there, and those with this sum where there is one.

        Raises:
            CheckpointError: they are not.
        """
        found = hashlib.sha256(self.path.read_bytes()[:length]).hexdigest()
        if length > self.length or sha256 not in (found, None):
            raise CheckpointError(
                f"{self.path}: its first {length} bytes are not those of the checkpoint; the file has {self.length} "
                "bytes. It was altered since. Restore it, or start a new run."
            )

    def cut(self, length: int) -> None:
        """The journal ends after its first `length` bytes, as it did at the checkpoint."""
        self._file.truncate(length)
        self._file.seek(length)
        self._sum = hashlib.sha256(self.path.read_bytes())
        self.sync()

    def close(self) -> None:
        """The file is closed; nothing can be appended any more."""
        self._file.close()


def read(path: Path) -> list[dict[str, Any]]:
    """The entries of a journal in order; a last line that a crash left unfinished is not among them.

    Raises:
        CheckpointError: another line is not a JSON object.
    """
    entries = []
    for number, line in enumerate(path.read_bytes().split(b"\n")[:-1], start=1):
        try:
            entry = orjson.loads(line)
        except orjson.JSONDecodeError:
            entry = None
        if not isinstance(entry, dict):
            raise CheckpointError(f"{path}:{number}: this line is not a JSON object; the journal was altered.")
        entries.append(entry)
    return entries


def _finite(entry: Mapping[str, JsonValue]) -> dict[str, JsonValue]:
    """`entry` with a note on every top-level number that orjson writes as null because JSON cannot hold it."""
    notes: dict[str, JsonValue] = {
        key: str(value) for key, value in entry.items() if isinstance(value, float) and not math.isfinite(value)
    }
    return {**entry, "not_finite": notes} if notes else dict(entry)
