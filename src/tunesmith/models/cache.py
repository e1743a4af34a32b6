"""Folders that are made once and are either whole or absent.

The decision: a folder is built under a second name, flushed, and renamed; a lock lets one process build while others
wait. So a crash leaves nothing that could be taken for a finished model, and no cleaning is ever needed.
"""

import os
import shutil
from collections.abc import Callable
from pathlib import Path

from filelock import FileLock

from tunesmith import disk
from tunesmith.errors import ModelError


def home() -> Path:
    """The folder for everything fetched or converted: `TUNESMITH_HOME`, else `~/.cache/tunesmith`."""
    named = os.environ.get("TUNESMITH_HOME")
    return Path(named).expanduser().absolute() if named else Path.home() / ".cache" / "tunesmith"


def made_once(folder: Path, make: Callable[[Path], None]) -> Path:
    """`folder`, after `make(partial)` has filled it if nobody had; safe against crashes and against two at once.

    Raises:
        ModelError: the disk is full or the place cannot be written.
    """
    if folder.is_dir():
        return folder
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(folder.parent / f".{folder.name}.lock"):
            if not folder.is_dir():
                write_whole(folder, make)
    except OSError as error:
        raise ModelError(f"{folder}: cannot be written: {disk.cause(error)}, or set TUNESMITH_HOME.") from error
    return folder


def write_whole(folder: Path, make: Callable[[Path], None]) -> None:
    """Fill a new `folder` through `make(partial)`, flush it to disk, and give it its name last."""
    partial = folder.parent / f".{folder.name}.partial"
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    try:
        make(partial)
        flush(partial)
        partial.rename(folder)
    except BaseException:
        shutil.rmtree(partial, ignore_errors=True)
        raise
    disk.sync(folder.parent)


def flush(folder: Path) -> None:
    """Every file below `folder`, and the folders' own entries, are on the disk when this returns."""
    for path in folder.rglob("*"):
        if not path.is_symlink():
            if path.is_file():
                path.chmod(0o644)  # safetensors writes files that only their owner may read
            disk.sync(path)
    disk.sync(folder)
