"""Data that stand elsewhere: `https`, `s3`, `gs`, `hf` and other addresses, and data sets of the Hugging Face hub.

The decision: what is remote is fetched whole into the cache before it is read, so that a run reads the same bytes from
beginning to end, and again without network. A file that changed at its place is fetched anew. No more is fetched than
the disk has room for, whatever the server announced.
"""

import hashlib
import json
import os
import shutil
from pathlib import Path
from typing import Any, BinaryIO

from tunesmith.errors import DataError

HUB = "hub:"
LEFT_FREE = 2**30
"""Bytes of the disk that a fetched file leaves free."""
_PART = 2**20
_NAMES = "names.json"


def is_remote(source: str) -> bool:
    """Whether a source is an address or a data set of the hub, not a path."""
    return "://" in source or source.startswith(HUB)


def hub_address(name: str) -> str:
    """The address of the Parquet files of `hub:OWNER/NAME[:SUBSET][:SPLIT]`, which the hub makes of every data set.

    One part behind the name is the split; `train` of the subset `default` is meant where nothing is said.
    """
    repository, *parts = name.removeprefix(HUB).split(":")
    if repository.count("/") != 1 or len(parts) > 2 or not all((repository, *parts)):
        raise DataError(
            f"{name}: a data set of the hub is written hub:OWNER/NAME, hub:OWNER/NAME:SPLIT or …:SUBSET:SPLIT."
        )
    split = parts[-1] if parts else "train"
    subset = parts[0] if len(parts) == 2 else "default"
    return f"hf://datasets/{repository}@refs/convert/parquet/{subset}/{split}/*.parquet"


def fetch(source: str) -> list[Path]:
    """The local copies of the files at an address, by name; fetched unless they are in the cache as they are there.

    Raises:
        DataError: nothing is there, it cannot be reached and no copy is held, it is larger than the disk has room for,
            or its protocol needs another package.
    """
    import fsspec

    address, folder = _place(source)
    try:
        files, inner = fsspec.core.url_to_fs(address)
        names = sorted(files.glob(inner)) if any(sign in inner for sign in "*?[") else [inner]
        if not names:
            raise FileNotFoundError
        return [_copy(files, name, folder) for name in names]
    except DataError:
        raise
    except FileNotFoundError as error:
        raise DataError(f"{source}: nothing stands at this address.") from error
    except (ImportError, ValueError) as error:
        raise DataError(f"{source}: this kind of address cannot be opened: {error}.") from error
    except Exception as error:  # each protocol's client has errors of its own for a place that does not answer
        return _held(folder, source, error)


def listed(source: str) -> list[str]:
    """The names of what stands at an address with `*`; those of the last time where nobody answers.

    Raises:
        DataError: it cannot be reached, and never was.
    """
    import fsspec

    address, folder = _place(source)
    try:
        files, inner = fsspec.core.url_to_fs(address)
        names = sorted(map(str, files.glob(inner)))
        folder.mkdir(parents=True, exist_ok=True)
        (folder / _NAMES).write_text(json.dumps(names), encoding="utf-8")
    except Exception as error:  # as in `fetch`
        if not (folder / _NAMES).is_file():
            raise DataError(f"{source}: cannot be reached ({error}).") from error
        names = json.loads((folder / _NAMES).read_text(encoding="utf-8"))
    return names


def _place(source: str) -> tuple[str, Path]:
    """The address of a source, and the folder of its copies."""
    address = hub_address(source) if source.startswith(HUB) else source
    return address, _cache() / hashlib.sha256(address.encode()).hexdigest()[:16]


def _cache() -> Path:
    named = os.environ.get("TUNESMITH_HOME")
    return (Path(named).expanduser() if named else Path.home() / ".cache" / "tunesmith") / "data"


def _copy(files: Any, name: str, folder: Path) -> Path:
    # What the server says of the file (size, time, ETag) stands for its version.
    version = hashlib.sha256(repr(sorted(files.info(name).items(), key=str)).encode()).hexdigest()[:8]
    target = folder / version / Path(name).name
    if not target.is_file():
        target.parent.mkdir(parents=True, exist_ok=True)
        unfinished = target.with_name(f"{target.name}.{os.getpid()}.part")
        try:
            with files.open(name, "rb") as there, unfinished.open("wb") as here:
                _pour(there, here, room(target.parent), name)
            os.replace(unfinished, target)
        finally:
            unfinished.unlink(missing_ok=True)
    return target


def room(folder: Path) -> int:
    """The most bytes that may be written below `folder`."""
    return max(shutil.disk_usage(folder).free - LEFT_FREE, 0)


def _pour(there: BinaryIO, here: BinaryIO, most: int, name: str) -> None:
    written = 0
    while part := there.read(_PART):
        written += len(part)
        if written > most:
            raise DataError(f"{name}: holds more than the {most / 2**30:.1f} GiB that the disk has room for.")
        here.write(part)


def _held(folder: Path, source: str, error: Exception) -> list[Path]:
    """The copies fetched last, for a place that cannot be reached now."""
    copies = [path for path in folder.glob("*/*") if path.suffix != ".part"] if folder.is_dir() else []
    if not copies:
        raise DataError(f"{source}: cannot be reached ({error}), and no copy of it is held.") from error
    newest = {path.name: path for path in sorted(copies, key=lambda path: path.stat().st_mtime)}
    return [newest[name] for name in sorted(newest)]
