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
import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from tunesmith import disk
from tunesmith.errors import RequestError, UsageError
from tunesmith.jobs.shared import Shared

CHUNK = 1 << 20


@dataclass(frozen=True, slots=True)
class Home:
    """A folder of the service; `shared` is where machines that serve together meet."""

    root: Path
    shared: Shared | None = None

    def file(self, id: str) -> Path:
        """Where the bytes of a file stand."""
        return self.root / "files" / id

    def upload(self, id: str) -> Path:
        """The folder of an upload's parts."""
        return self.root / "uploads" / id

    def job(self, id: str) -> Path:
        """The folder of a job."""
        return self.root / "jobs" / id

    def share(self, path: Path) -> Path:
        """The path, whose bytes other machines can now fetch."""
        if self.shared is not None:
            self.shared.put(path)
        return path

    def fetched(self, path: Path) -> Path:
        """The path, its bytes brought here if they were stored by another machine."""
        if self.shared is not None:
            self.shared.fetch(path)
        return path

    def remove(self, path: Path) -> None:
        """A file or folder is gone, here and where it is shared."""
        if path.is_dir():
            shutil.rmtree(path, ignore_errors=True)
        path.unlink(missing_ok=True)
        if self.shared is not None:
            self.shared.remove(path)

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
