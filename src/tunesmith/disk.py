"""What it takes for bytes to be on the disk, and why a disk refuses them.

The decision: this is said once, below every room, because each of them keeps something that a crash must not take.
Whoever writes decides which error it becomes; here the system's own passes through.
"""

import errno
import hashlib
import os
import re
from collections.abc import Iterable
from io import FileIO
from pathlib import Path

CHUNK = 4 * 2**20  # bytes hashed and written at once

_CAUSES = {
    errno.ENOSPC: "the disk is full. Free some space",
    errno.EDQUOT: "your disk quota is used up. Free some space",
    errno.EFBIG: "it is larger than files may be here. Raise the limit (ulimit -f), or move the run to another disk",
    errno.EROFS: "the file system is read-only. Make it writable",
    errno.EACCES: "it may not be written to. Change its permissions",
    errno.EPERM: "it may not be written to. Change its permissions",
    errno.EIO: "the disk reports an error of the device. Check it, or move the run to another disk",
}


def cause(error: Exception) -> str:
    """Why the system refused to write, and the remedy, as the middle of a sentence."""
    if isinstance(error, OSError):
        return _CAUSES.get(error.errno or 0, f"{error.strerror or error}. Remove the cause")
    # The safetensors library passes on the system's number in its text alone.
    number = re.search(r"os error (\d+)", str(error))
    return _CAUSES.get(int(number[1]) if number else 0, f"{error}. Remove the cause")


def write_synced(path: Path, pieces: Iterable[bytes | memoryview]) -> str:
    """The sha256 (hex) of the pieces, which are now the content of `path` and on the disk."""
    digest = hashlib.sha256()
    with path.open("wb", buffering=0) as file:
        for piece in pieces:
            digest.update(piece)
            write_all(file, piece)
        os.fsync(file.fileno())
    return digest.hexdigest()


def write_all(file: FileIO, piece: bytes | memoryview) -> None:
    """All of `piece` is written, however little of it an unbuffered write takes at once."""
    rest = memoryview(piece)
    while rest:
        rest = rest[file.write(rest) :]


def sha256_of(path: Path) -> str:
    """The sha256 (hex) of a file's content."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def sync(path: Path) -> None:
    """The bytes of a file, or the names in a folder, are on the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
