"""`/v1/webhook_endpoints`: where to tell how jobs ended."""

from typing import Annotated

from fastapi import APIRouter, Depends, Query
from pydantic import BaseModel, ConfigDict

from tunesmith.jobs.pages import Page
from tunesmith.jobs.request import Text
from tunesmith.web import replies
from tunesmith.web.door import Behind, Needs
from tunesmith.web.replies import Reply

router = APIRouter(prefix="/v1/webhook_endpoints", tags=["Webhooks"], dependencies=[Depends(Needs("admin"))])


class Endpoint(BaseModel):
    """The body of `POST /v1/webhook_endpoints`."""

    model_config = ConfigDict(extra="forbid")
    name: Text
    url: Text
    event_types: list[str]


@router.post("")
def create(behind: Behind, asked: Endpoint) -> Reply:
    """Register an endpoint; its secret is shown now and never again."""
    row = behind.webhooks.add(asked.name, asked.url, asked.event_types)
    return {**replies.webhook(row), "signing_secret": row.secret}


@router.get("")
def page(behind: Behind, limit: Annotated[int, Query(ge=1, le=100)] = 20, after: str | None = None) -> Reply:
    """The endpoints, newest first."""
    rows, more = behind.webhooks.page(Page(limit, after))
    return replies.listed([replies.webhook(row) for row in rows], more)


@router.delete("/{webhook_id}")
def delete(behind: Behind, webhook_id: str) -> Reply:
    """Remove an endpoint."""
    behind.webhooks.delete(webhook_id)
    return {"id": webhook_id, "object": "webhook_endpoint.deleted", "deleted": True}
