"""`/v1/fine_tuning/jobs`: create, list, describe, cancel, pause, resume, events, checkpoints."""

from typing import Annotated

from fastapi import APIRouter, Depends, Header, Query, Request

from tunesmith.jobs.lifecycle import Sender
from tunesmith.jobs.pages import Page
from tunesmith.jobs.request import JobRequest
from tunesmith.jobs.tables import Key
from tunesmith.web import replies
from tunesmith.web.door import Behind, Needs
from tunesmith.web.replies import Reply

NEEDS = Needs("jobs")
router = APIRouter(prefix="/v1/fine_tuning/jobs", tags=["Fine-tuning"], dependencies=[Depends(NEEDS)])
Limit = Annotated[int, Query(ge=1, le=100)]


@router.post("")
def create(
    behind: Behind,
    asked: JobRequest,
    key: Annotated[Key, Depends(NEEDS)],
    idempotency_key: Annotated[str | None, Header(min_length=1, max_length=300)] = None,
    x_stainless_retry_count: Annotated[str, Header()] = "0",
) -> Reply:
    """Begin a job, or find the one that this same request began before."""
    behind.admit(key, asked.model)
    retry = x_stainless_retry_count.strip() not in ("", "0")
    return replies.job(behind.jobs.create(asked, Sender(key.id, key.project, key.most_jobs, idempotency_key, retry)))


@router.get("")
def page(behind: Behind, request: Request, limit: Limit = 20, after: str | None = None) -> Reply:
    """The jobs, newest first; `metadata[name]=value` chooses among them."""
    given = request.query_params.items()
    labels = {name[9:-1]: value for name, value in given if name.startswith("metadata[") and name.endswith("]")}
    rows, more = behind.jobs.page(Page(limit, after), labels)
    return replies.listed([replies.job(row) for row in rows], more)


@router.get("/{job_id}")
def get(behind: Behind, job_id: str) -> Reply:
    """One job."""
    return replies.job(behind.jobs.get(job_id))


@router.post("/{job_id}/cancel")
def cancel(behind: Behind, job_id: str) -> Reply:
    """End a job for good."""
    return replies.job(behind.jobs.cancel(job_id))


@router.post("/{job_id}/pause")
def pause(behind: Behind, job_id: str) -> Reply:
    """Let a running job save and wait."""
    return replies.job(behind.jobs.pause(job_id))


@router.post("/{job_id}/resume")
def resume(behind: Behind, job_id: str) -> Reply:
    """Let a paused job go on."""
    return replies.job(behind.jobs.resume(job_id))


@router.get("/{job_id}/events")
def events(behind: Behind, job_id: str, limit: Limit = 20, after: str | None = None) -> Reply:
    """What happened to a job, newest first."""
    rows, more = behind.jobs.events(job_id, Page(limit, after))
    return replies.listed([replies.event(row) for row in rows], more)


@router.get("/{job_id}/checkpoints")
def checkpoints(behind: Behind, job_id: str, limit: Limit = 10, after: str | None = None) -> Reply:
    """A job's servable checkpoints, newest first."""
    rows, more = behind.jobs.checkpoints(job_id, Page(limit, after))
    return replies.listed([replies.checkpoint(row) for row in rows], more)
