"""Files: what was uploaded and what resulted.

The decision: a file is its bytes under our id; the name that it came with is shown again and used for nothing else.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import delete, select
from sqlalchemy.orm import Session

from tunesmith.errors import RequestError
from tunesmith.jobs.home import Home, keep
from tunesmith.jobs.names import new_id
from tunesmith.jobs.pages import Page, page
from tunesmith.jobs.store import Store
from tunesmith.jobs.tables import File

MOST_BYTES = 512 << 20
PURPOSES = ("assistants", "batch", "fine-tune", "vision", "user_data", "evals")
RESULTS = "fine-tune-results"


@dataclass(frozen=True, slots=True)
class Described:
    """How a client describes a file: its name, what it is for, and after how many seconds it goes."""

    filename: str
    purpose: str
    seconds: int | None = None


class Files:
    """The files of a service."""

    def __init__(self, store: Store, home: Home) -> None:
        self._store, self._home = store, home

    def add(self, described: Described, chunks: Iterable[bytes], *, most: int = MOST_BYTES) -> File:
        """The new file, whole and on the disk.

        Raises:
            RequestError: it is empty or too large, its purpose is unknown, or the disk is full.
        """
        if described.purpose not in PURPOSES:
            raise RequestError(f"'{described.purpose}' is not one of {', '.join(PURPOSES)}.", param="purpose")
        id = new_id("file")
        size, _ = keep(self._home.file(id), chunks, most)
        if not size:
            self._home.file(id).unlink()
            raise RequestError("The file is empty.", param="file", code="empty_file")
        self._home.share(self._home.file(id))
        with self._store.write() as session:
            return insert(session, id, size, described, self._store.now)

    def get(self, id: str) -> File:
        """The file called `id`.

        Raises:
            RequestError: there is none (any more).
        """
        with self._store.read() as session:
            return find(session, id, self._store.now)

    def content(self, id: str) -> Path:
        """Where the bytes of a file stand."""
        return self._home.fetched(self._home.file(self.get(id).id))

    def page(self, asked: Page, purpose: str | None) -> tuple[list[File], bool]:
        """A page of the files, and whether there are more."""
        query = select(File).where((File.expires_at.is_(None)) | (File.expires_at > self._store.now))
        if purpose is not None:
            query = query.where(File.purpose == purpose)
        with self._store.read() as session:
            return page(session, query, File, asked)

    def delete(self, id: str) -> None:
        """The file is gone; a job that was created with it keeps its own copy."""
        with self._store.write() as session:
            session.delete(find(session, id, self._store.now))
        self._home.remove(self._home.file(id))

    def expire(self) -> int:
        """Remove the files whose time is over; returns how many."""
        with self._store.write() as session:
            over = select(File.id).where(File.expires_at <= self._store.now)
            ids = list(session.scalars(over))
            session.execute(delete(File).where(File.id.in_(ids)))
        for id in ids:
            self._home.remove(self._home.file(id))
        return len(ids)


def insert(session: Session, id: str, size: int, described: Described, now: int) -> File:
    """The row of a file whose bytes are on the disk."""
    expires = None if described.seconds is None else now + described.seconds
    file = File(
        id=id, created_at=now, expires_at=expires, bytes=size, filename=described.filename, purpose=described.purpose
    )
    session.add(file)
    session.flush()
    return file


def find(session: Session, id: str, now: int, param: str = "file_id") -> File:
    """The file called `id`.

    Raises:
        RequestError: there is none (any more).
    """
    file = session.scalar(select(File).where(File.id == id))
    if file is None or (file.expires_at is not None and file.expires_at <= now):
        raise RequestError(f"No such File object: {id}", status=404, code="file_not_found", param=param)
    return file
