"""`/v1/uploads`: a large file in parts."""

from typing import Annotated, Literal

from fastapi import APIRouter, Depends, File, UploadFile
from pydantic import BaseModel, ConfigDict, Field

from tunesmith.jobs.files import Described
from tunesmith.jobs.home import chunks_of
from tunesmith.jobs.request import Text
from tunesmith.web import replies
from tunesmith.web.door import Behind, Needs
from tunesmith.web.files import LEAST_SECONDS, MOST_SECONDS
from tunesmith.web.replies import Reply

router = APIRouter(prefix="/v1/uploads", tags=["Uploads"], dependencies=[Depends(Needs("jobs"))])


class Expiry(BaseModel):
    """After how many seconds the file goes."""

    model_config = ConfigDict(extra="forbid")
    anchor: Literal["created_at"]
    seconds: int = Field(ge=LEAST_SECONDS, le=MOST_SECONDS)


class Announced(BaseModel):
    """The body of `POST /v1/uploads`."""

    model_config = ConfigDict(extra="forbid")
    filename: Text
    purpose: str
    bytes: int
    mime_type: str
    expires_after: Expiry | None = None


class Ordered(BaseModel):
    """The body of `POST /v1/uploads/{id}/complete`."""

    model_config = ConfigDict(extra="forbid")
    part_ids: list[str]
    md5: str | None = None


@router.post("")
def create(behind: Behind, asked: Announced) -> Reply:
    """Announce a file."""
    seconds = asked.expires_after.seconds if asked.expires_after else None
    return replies.upload(behind.uploads.begin(Described(asked.filename, asked.purpose, seconds), asked.bytes))


@router.post("/{upload_id}/parts")
def add(behind: Behind, upload_id: str, data: Annotated[UploadFile, File()]) -> Reply:
    """Store a part."""
    return replies.part(behind.uploads.add(upload_id, chunks_of(data.file)))


@router.post("/{upload_id}/complete")
def complete(behind: Behind, upload_id: str, asked: Ordered) -> Reply:
    """Make the file of its parts."""
    return replies.upload(*behind.uploads.complete(upload_id, asked.part_ids, asked.md5))


@router.post("/{upload_id}/cancel")
def cancel(behind: Behind, upload_id: str) -> Reply:
    """Give an upload up."""
    return replies.upload(behind.uploads.cancel(upload_id))
