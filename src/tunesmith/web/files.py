"""`/v1/files`: upload, list, describe, read, delete."""

from typing import Annotated, Literal

from fastapi import APIRouter, Depends, File, Form, Query, UploadFile
from fastapi.responses import FileResponse

from tunesmith.errors import RequestError
from tunesmith.jobs.files import Described
from tunesmith.jobs.home import chunks_of
from tunesmith.jobs.pages import Page
from tunesmith.web import replies
from tunesmith.web.door import Behind, Needs
from tunesmith.web.replies import Reply

router = APIRouter(prefix="/v1/files", tags=["Files"], dependencies=[Depends(Needs("jobs"))])
LEAST_SECONDS, MOST_SECONDS = 3600, 2592000


@router.post("")
def create(
    behind: Behind,
    file: Annotated[UploadFile, File()],
    purpose: Annotated[str, Form()],
    anchor: Annotated[Literal["created_at"] | None, Form(alias="expires_after[anchor]")] = None,
    seconds: Annotated[int | None, Form(alias="expires_after[seconds]", ge=LEAST_SECONDS, le=MOST_SECONDS)] = None,
) -> Reply:
    """Store a file."""
    if (anchor is None) != (seconds is None):
        raise RequestError("expires_after needs both anchor and seconds.", param="expires_after")
    described = Described((file.filename or "file").replace("\x00", ""), purpose, seconds)
    return replies.file(behind.files.add(described, chunks_of(file.file)))


@router.get("")
def page(
    behind: Behind,
    purpose: str | None = None,
    limit: Annotated[int, Query(ge=1, le=10000)] = 10000,
    order: Literal["asc", "desc"] = "desc",
    after: str | None = None,
) -> Reply:
    """The files, newest first."""
    rows, more = behind.files.page(Page(limit, after, order), purpose)
    return replies.listed([replies.file(row) for row in rows], more)


@router.get("/{file_id}")
def get(behind: Behind, file_id: str) -> Reply:
    """One file's description."""
    return replies.file(behind.files.get(file_id))


@router.get("/{file_id}/content", response_class=FileResponse)
def content(behind: Behind, file_id: str) -> FileResponse:
    """One file's bytes."""
    return FileResponse(behind.files.content(file_id), media_type="application/octet-stream")


@router.delete("/{file_id}")
def delete(behind: Behind, file_id: str) -> Reply:
    """Remove a file."""
    behind.files.delete(file_id)
    return {"id": file_id, "object": "file", "deleted": True}
