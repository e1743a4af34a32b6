"""Checkpoints that are whole or absent.

The decision: a checkpoint gets its name, `step-N`, by one rename, after every file in it and its manifest of sha256
sums are on the disk; the previous one stays until then. So a folder named `step-N` was once whole, and the manifest
tells whether it still is. Folders with other names are what a crash left behind, and the next save sweeps them.

    checkpoints/step-40/
      <stem>.safetensors   named tensors, by the caller's stems (weights, optimizer)
      state.json           the caller's small facts: best value, patience left, length of the journal…
      manifest.json        the step, and the sha256 of each of the files above
"""

import fcntl
import json
import os
import re
import shutil
import warnings
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from pydantic import JsonValue
from safetensors.torch import load_file
from torch import Tensor

from tunesmith import disk
from tunesmith.errors import CheckpointError, TrainingError
from tunesmith.training import durable

Point = Literal[
    "swept",
    "folder made",
    "piece written",
    "tensors written",
    "state written",
    "manifest written",
    "predecessor moved",
    "renamed",
    "synced",
    "retired",
]
"""The moments of a save, in order, at which a test may kill it; those of the tensors come more than once."""

Piece = bytes | memoryview

_MANIFEST = "manifest.json"
_STATE = "state.json"
# A save of a step that already has a folder moves that folder aside; until the new one has its name, it still counts.
_NAME = re.compile(r"step-\d+(\.before)?")


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A checkpoint that was verified against its manifest; `state` is what the caller had saved."""

    folder: Path
    step: int
    state: Mapping[str, JsonValue]

    def tensors(self, stem: str) -> dict[str, Tensor]:
        """The tensors of one file, on the CPU, read from the disk as they are touched."""
        return load_file(self.folder / f"{stem}.safetensors")


def save(
    root: Path,
    step: int,
    tensors: Mapping[str, Mapping[str, Tensor]],
    state: Mapping[str, JsonValue],
    *,
    keep: int,
    protect: Collection[int] = (),
    reached: Callable[[Point], object] = lambda point: None,
) -> Path:
    """The folder of a new checkpoint of `step`, whole and on the disk; the last `keep` and those in `protect` stay.

    `tensors` is file stem → name → tensor and is streamed out without a second copy. Checkpoints of later steps are
    removed: a run that reaches `step` again did not go on from them. `reached` hears of each `Point`.

    Raises:
        CheckpointError: the disk refused; the checkpoints that were there are untouched.
    """
    partial = root / f"partial-{step}"
    try:
        root.mkdir(parents=True, exist_ok=True)
        disk.sync(root.parent)
        _sweep(root)
        reached("swept")
        _write(partial, step, tensors, state, reached)
        folder = _give_name(partial, root / f"step-{step}", reached)
        _sweep(root)
        _retire(root, step, keep, protect)
        reached("retired")
    except OSError as error:
        shutil.rmtree(partial, ignore_errors=True)
        raise CheckpointError(
            f"{root}: the checkpoint of step {step} could not be saved: {disk.cause(error)}, then resume. "
            "The last good checkpoint is untouched."
        ) from error
    return folder


def newest(
    root: Path,
    warn: Callable[[str], object] = warnings.warn,
    *,
    fits: Callable[[Checkpoint], object] = lambda found: None,
) -> Checkpoint | None:
    """The newest whole checkpoint under `root`; None where there never was one. Damaged ones are told to `warn`.

    `fits` raises CheckpointError where what a checkpoint needs beside itself is damaged; it is passed over too.

    Raises:
        CheckpointError: there are checkpoints, and not one of them is whole.
    """
    damaged = []
    for folder in _found(root):
        try:
            found = verified(folder)
            fits(found)
        except CheckpointError as error:
            damaged.append(str(error))
            continue
        for message in damaged:
            warn(f"{message} It is passed over; {found.folder.name} is used.")
        return found
    if damaged:
        reasons = "\n  ".join(damaged)
        raise CheckpointError(f"{root}: no checkpoint is whole, so there is nothing to resume from.\n  {reasons}")
    return None


def verified(folder: Path) -> Checkpoint:
    """The checkpoint in `folder`, every file of it read and compared with the manifest.

    Raises:
        CheckpointError: something is missing, added or altered.
    """
    try:
        manifest = (folder / _MANIFEST).read_bytes()
        sums = {file.name: disk.sha256_of(file) for file in folder.iterdir() if file.name != _MANIFEST}
        if manifest != _manifest(_step(folder), sums):
            raise CheckpointError(f"{folder}: this checkpoint is not what was saved: {_difference(manifest, sums)}.")
        return Checkpoint(folder, _step(folder), json.loads((folder / _STATE).read_bytes()))
    except (OSError, ValueError) as error:
        raise CheckpointError(f"{folder}: this checkpoint cannot be read ({error}).") from error


@contextmanager
def lock(run_folder: Path) -> Iterator[None]:
    """While the block runs, no other process can enter it for the same folder; the system frees it however we end.

    Raises:
        TrainingError: another process holds the folder, or it cannot be written to.
    """
    try:
        run_folder.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(run_folder / ".lock", os.O_RDWR | os.O_CREAT, 0o644)
    except OSError as error:
        raise TrainingError(f"{run_folder}: cannot be used as a run folder: {disk.cause(error)}.") from error
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.pread(descriptor, 32, 0).decode().strip()
            raise TrainingError(
                f"{run_folder}: process {holder} is training in this folder. Wait for it, stop it, or name another run."
            ) from None
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
        yield
    finally:
        os.close(descriptor)


def _write(
    partial: Path,
    step: int,
    tensors: Mapping[str, Mapping[str, Tensor]],
    state: Mapping[str, JsonValue],
    reached: Callable[[Point], object],
) -> None:
    partial.mkdir()
    reached("folder made")
    sums: dict[str, str] = {}
    for stem, named in tensors.items():
        name = f"{stem}.safetensors"
        sums[name] = disk.write_synced(partial / name, _each(durable.safetensors_pieces(named), reached))
        reached("tensors written")
    sums[_STATE] = disk.write_synced(partial / _STATE, [durable.json_text(dict(state)).encode()])
    reached("state written")
    disk.write_synced(partial / _MANIFEST, [_manifest(step, sums)])
    disk.sync(partial)
    reached("manifest written")


def _each(pieces: Iterable[Piece], reached: Callable[[Point], object]) -> Iterator[Piece]:
    """The pieces; `reached` hears of each that has been written."""
    for piece in pieces:
        yield piece
        reached("piece written")


def _give_name(partial: Path, folder: Path, reached: Callable[[Point], object]) -> Path:
    if folder.exists():
        folder.rename(folder.with_name(f"{folder.name}.before"))
    reached("predecessor moved")
    partial.rename(folder)
    reached("renamed")
    disk.sync(folder.parent)
    reached("synced")
    return folder


def _retire(root: Path, step: int, keep: int, protect: Collection[int]) -> None:
    current = [folder for folder in _found(root) if _step(folder) <= step]
    stay = {folder for place, folder in enumerate(current) if place < keep or _step(folder) in protect}
    for folder in set(_found(root)) - stay:
        # Renamed first: a deletion cut short must not leave a damaged folder under a checkpoint's name.
        folder.rename(root / f"retired-{folder.name}")
    _sweep(root)


def _sweep(root: Path) -> None:
    """What a crash left behind is gone; a folder moved aside has its name again, or is gone where a new one has it."""
    for folder in root.glob("step-*.before"):
        name = folder.name.removesuffix(".before")
        folder.rename(root / (f"retired-{name}" if (root / name).exists() else name))
    for folder in [*root.glob("partial-*"), *root.glob("retired-*")]:
        shutil.rmtree(folder)


def _found(root: Path) -> list[Path]:
    """Folders that were once whole, newest first."""
    folders = [folder for folder in root.iterdir() if _NAME.fullmatch(folder.name)] if root.is_dir() else []
    return sorted(folders, key=lambda folder: (_step(folder), not folder.name.endswith(".before")), reverse=True)


def _step(folder: Path) -> int:
    return int(folder.name.removeprefix("step-").removesuffix(".before"))


def _manifest(step: int, sums: Mapping[str, str]) -> bytes:
    """The one way to write a manifest, so that it can be compared byte by byte."""
    listed: dict[str, JsonValue] = {name: sums[name] for name in sorted(sums)}
    return durable.json_text({"step": step, "sha256": listed}).encode()


def _difference(manifest: bytes, sums: Mapping[str, str]) -> str:
    try:
        listed = dict(json.loads(manifest)["sha256"])
    except (ValueError, TypeError, KeyError):
        return f"{_MANIFEST} is damaged"
    differing = sorted(name for name in listed.keys() | sums.keys() if listed.get(name) != sums.get(name))
    return f"{', '.join(differing)} missing or altered" if differing else f"{_MANIFEST} is damaged"
