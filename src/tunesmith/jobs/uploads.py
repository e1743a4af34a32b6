"""Uploads: a file that arrives in parts, in any order, and becomes whole by one request.

The decision: each part is a file of its own until the client says in which order they stand; the whole is written
once, counted and compared with what was announced, before it gets a name.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from tunesmith.errors import RequestError
from tunesmith.jobs.files import PURPOSES, Described, insert
from tunesmith.jobs.home import Home, chunks_of, keep
from tunesmith.jobs.names import new_id
from tunesmith.jobs.store import Store
from tunesmith.jobs.tables import File, Part, Upload

MOST_PART, MOST_WHOLE, LIVES = 64 << 20, 8 << 30, 3600


@dataclass(frozen=True, slots=True)
class Uploads:
    """The uploads of a service."""

    store: Store
    home: Home

    def begin(self, described: Described, size: int) -> Upload:
        """A new upload, open for an hour.

        Raises:
            RequestError: the announced size or purpose is not possible.
        """
        if described.purpose not in PURPOSES:
            raise RequestError(f"'{described.purpose}' is not one of {', '.join(PURPOSES)}.", param="purpose")
        if not 0 < size <= MOST_WHOLE:
            raise RequestError(f"bytes: expected 1 to {MOST_WHOLE:,}.", param="bytes")
        now = self.store.now
        upload = Upload(
            id=new_id("upload"), created_at=now, expires_at=now + LIVES, bytes=size, filename=described.filename,
            purpose=described.purpose, status="pending", file_seconds=described.seconds,
        )  # fmt: skip
        with self.store.write() as session:
            session.add(upload)
        return upload

    def add(self, id: str, chunks: Iterable[bytes]) -> Part:
        """One more part, whole and on the disk.

        Raises:
            RequestError: the upload is not open, or the part or the sum of parts is too large.
        """
        with self.store.read() as session:
            upload = _open(session, id, self.store.now)
            have = session.scalar(select(func.sum(Part.bytes)).where(Part.upload_id == id)) or 0
        name = new_id("part")
        path = self.home.upload(id) / name
        size, _ = keep(path, chunks, min(MOST_PART, max(upload.bytes - int(have), 0)))
        self.home.share(path)
        with self.store.write() as session:
            _open(session, id, self.store.now)
            part = Part(id=name, upload_id=id, created_at=self.store.now, bytes=size)
            session.add(part)
        return part

    def complete(self, id: str, parts: Sequence[str], md5: str | None) -> tuple[Upload, File]:
        """The upload and the file that its parts, in this order, make.

        Raises:
            RequestError: a part is missing or named twice, or size or md5 are not those announced.
        """
        with self.store.read() as session:
            upload = _open(session, id, self.store.now)
            known = {p.id: p.bytes for p in session.scalars(select(Part).where(Part.upload_id == id))}
        strange = [part for part in parts if part not in known]
        if strange or not parts or len(set(parts)) != len(parts):
            raise RequestError("part_ids: expected each part of this upload at most once.", param="part_ids")
        if sum(known[part] for part in parts) != upload.bytes:
            raise RequestError(f"The parts do not add up to the announced {upload.bytes:,} bytes.", param="part_ids")
        file = new_id("file")
        folder = self.home.upload(id)
        joined = _joined([self.home.fetched(folder / part) for part in parts])
        size, digest = keep(self.home.file(file), joined, upload.bytes)
        if md5 is not None and md5.lower() != digest:
            self.home.file(file).unlink()
            raise RequestError("md5: the bytes that arrived have another checksum.", param="md5", code="md5_mismatch")
        self.home.share(self.home.file(file))
        with self.store.write() as session:
            row = _open(session, id, self.store.now)
            described = Described(row.filename, row.purpose, row.file_seconds)
            made = insert(session, file, size, described, self.store.now)
            row.status, row.file_id = "completed", file
        self.home.remove(folder)
        return row, made

    def cancel(self, id: str) -> Upload:
        """The upload, given up."""
        with self.store.write() as session:
            upload = _open(session, id, self.store.now)
            upload.status = "cancelled"
        self.home.remove(self.home.upload(id))
        return upload


def _open(session: Session, id: str, now: int) -> Upload:
    upload = session.scalar(select(Upload).where(Upload.id == id).with_for_update())
    if upload is None:
        raise RequestError(f"No such Upload object: {id}", status=404, code="upload_not_found", param="upload_id")
    if upload.status == "pending" and upload.expires_at <= now:
        raise RequestError(f"Upload {id} has expired.", code="upload_expired")
    if upload.status != "pending":
        raise RequestError(f"Upload {id} is {upload.status}.", code="invalid_state")
    return upload


def _joined(paths: Sequence[Path]) -> Iterator[bytes]:
    for path in paths:
        with path.open("rb") as file:
            yield from chunks_of(file)
