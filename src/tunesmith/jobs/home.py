"""The home of a service: where its bytes stand.

    service.db    the embedded database              files/<id>              what was uploaded or resulted
    server.lock   held while a server runs           uploads/<id>/<part>     files that arrive in parts
    jobs/<id>/    data, run folder, console, and the servable checkpoints of a job

The decision: bytes get their name by a rename after they are on the disk, and the row that speaks of them is written
after that; so what the database names is there, and what a crash leaves half written has no name.
"""

import fcntl
import hashlib
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from tunesmith import disk
from tunesmith.errors import RequestError, UsageError

CHUNK = 1 << 20


@dataclass(frozen=True, slots=True)
class Home:
    """A folder of the service."""

    root: Path

    def file(self, id: str) -> Path:
        """Where the bytes of a file stand."""
        return self.root / "files" / id

    def upload(self, id: str) -> Path:
        """The folder of an upload's parts."""
        return self.root / "uploads" / id

    def job(self, id: str) -> Path:
        """The folder of a job."""
        return self.root / "jobs" / id

    @contextmanager
    def held(self) -> Iterator[None]:
        """While the block runs, no other server can hold this home.

        Raises:
            UsageError: another one does.
        """
        self.root.mkdir(parents=True, exist_ok=True, mode=0o700)
        descriptor = os.open(self.root / "server.lock", os.O_RDWR | os.O_CREAT, 0o600)
        try:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise UsageError(
                    f"{self.root}: another server runs on this home. Stop it, or name another with --home."
                ) from None
            yield
        finally:
            os.close(descriptor)


def keep(path: Path, chunks: Iterable[bytes], most: int) -> tuple[int, str]:
    """`path` holds the bytes, on the disk; returns how many, and their md5.

    Raises:
        RequestError: there are more than `most`, or the disk refuses.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.partial")
    size, digest = 0, hashlib.md5(usedforsecurity=False)
    try:
        with partial.open("wb") as file:
            for chunk in chunks:
                size += len(chunk)
                if size > most:
                    raise RequestError(
                        f"The file is too large; the most is {most:,} bytes.", status=413, code="file_too_large"
                    )
                digest.update(chunk)
                file.write(chunk)
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
        disk.sync(path.parent)
    except OSError as error:
        raise RequestError(
            f"The server cannot store the file: {error.strerror}.", status=507, code="disk_full"
        ) from error
    finally:
        partial.unlink(missing_ok=True)
    return size, digest.hexdigest()


def chunks_of(file: BinaryIO) -> Iterator[bytes]:
    """The bytes of an open file, piece by piece."""
    while chunk := file.read(CHUNK):
        yield chunk
