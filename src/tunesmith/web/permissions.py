"""`/v1/fine_tuning/checkpoints/{model}/permissions`: which projects may use a tuned model."""

from typing import Annotated, Literal

from fastapi import APIRouter, Depends, Query
from pydantic import BaseModel, ConfigDict, Field

from tunesmith.jobs.pages import Page
from tunesmith.jobs.request import Text
from tunesmith.web import replies
from tunesmith.web.door import Behind, Needs
from tunesmith.web.replies import Reply

router = APIRouter(prefix="/v1/fine_tuning/checkpoints", tags=["Fine-tuning"], dependencies=[Depends(Needs("admin"))])
Project = Annotated[Text, Field(min_length=1, max_length=64)]


class Granted(BaseModel):
    """The body of `POST …/permissions`."""

    model_config = ConfigDict(extra="forbid")
    project_ids: Annotated[list[Project], Field(min_length=1, max_length=100)]


@router.post("/{model:path}/permissions")
def create(behind: Behind, model: str, asked: Granted) -> Reply:
    """Let projects use a model."""
    rows = behind.permissions.grant(model, asked.project_ids)
    return replies.listed([replies.permission(row) for row in rows], False)


@router.get("/{model:path}/permissions")
def page(
    behind: Behind,
    model: str,
    project_id: str | None = None,
    after: str | None = None,
    limit: Annotated[int, Query(ge=1, le=100)] = 10,
    order: Literal["ascending", "descending"] = "descending",
) -> Reply:
    """A model's permissions."""
    asked = Page(limit, after, "asc" if order == "ascending" else "desc")
    rows, more = behind.permissions.page(model, project_id, asked)
    return replies.listed([replies.permission(row) for row in rows], more)


@router.delete("/{model:path}/permissions/{permission_id}")
def delete(behind: Behind, model: str, permission_id: str) -> Reply:
    """Take a permission back."""
    behind.permissions.revoke(model, permission_id)
    return {"id": permission_id, "object": "checkpoint.permission", "deleted": True}
