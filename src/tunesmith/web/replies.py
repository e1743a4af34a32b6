"""What is stored, as the API shows it.

The decision: one function an object, so that what a client can see stands in one place.
"""

from typing import Any

from tunesmith.jobs.tables import Checkpoint, Event, File, Job, Model, Part, Permission, Upload, Webhook

Reply = dict[str, Any]


def file(row: File) -> Reply:
    """A file."""
    shown = {
        "id": row.id, "object": "file", "bytes": row.bytes, "created_at": row.created_at, "filename": row.filename,
        "purpose": row.purpose, "status": "processed",
    }  # fmt: skip
    return shown if row.expires_at is None else {**shown, "expires_at": row.expires_at}


def upload(row: Upload, made: File | None = None) -> Reply:
    """An upload, with its file once it is complete."""
    shown = {
        "id": row.id, "object": "upload", "bytes": row.bytes, "created_at": row.created_at, "filename": row.filename,
        "purpose": row.purpose, "status": row.status, "expires_at": row.expires_at,
    }  # fmt: skip
    return shown if made is None else {**shown, "file": file(made)}


def part(row: Part) -> Reply:
    """A part of an upload."""
    return {"id": row.id, "object": "upload.part", "created_at": row.created_at, "upload_id": row.upload_id}


def job(row: Job) -> Reply:
    """A fine-tuning job."""
    return {
        "id": row.id, "object": "fine_tuning.job", "created_at": row.created_at, "status": row.status,
        "model": row.model, "organization_id": "org-tunesmith", "training_file": row.training_file,
        "validation_file": row.validation_file, "seed": row.seed, "hyperparameters": row.hyperparameters,
        "method": {"type": "supervised", "supervised": {"hyperparameters": row.hyperparameters}},
        "fine_tuned_model": row.fine_tuned_model, "finished_at": row.finished_at,
        "estimated_finish": row.estimated_finish, "trained_tokens": row.trained_tokens,
        "result_files": row.result_files, "error": row.error, "integrations": row.integrations or [],
        "metadata": row.labels,
    }  # fmt: skip


def event(row: Event) -> Reply:
    """An event of a job."""
    return {
        "id": row.id, "object": "fine_tuning.job.event", "created_at": row.created_at, "level": row.level,
        "message": row.message, "type": row.type, "data": row.data or {},
    }  # fmt: skip


def checkpoint(row: Checkpoint) -> Reply:
    """A servable checkpoint of a job."""
    return {
        "id": row.id, "object": "fine_tuning.job.checkpoint", "created_at": row.created_at,
        "fine_tuned_model_checkpoint": row.name, "fine_tuning_job_id": row.job_id, "metrics": row.metrics,
        "step_number": row.step,
    }  # fmt: skip


def permission(row: Permission) -> Reply:
    """A permission for a tuned model."""
    return {
        "id": row.id, "object": "checkpoint.permission", "created_at": row.created_at, "project_id": row.project,
    }  # fmt: skip


def model(row: Model) -> Reply:
    """A model that a job made."""
    return {"id": row.name, "object": "model", "created": row.created_at, "owned_by": "org-tunesmith"}


def base_model(name: str) -> Reply:
    """A model that can be tuned."""
    return {"id": name, "object": "model", "created": 0, "owned_by": "system"}


def webhook(row: Webhook) -> Reply:
    """A webhook endpoint, without its secret."""
    return {
        "id": row.id, "object": "webhook_endpoint", "created_at": row.created_at, "name": row.name, "url": row.url,
        "event_types": row.event_types, "signing_secret_hint": f"…{row.secret[-4:]}",
    }  # fmt: skip


def listed(data: list[Reply], more: bool) -> Reply:
    """A page of a list."""
    ends = {"first_id": data[0].get("id") if data else None, "last_id": data[-1].get("id") if data else None}
    return {"object": "list", "data": data, "has_more": more, **ends}


def error(message: str, kind: str, code: str | None = None, param: str | None = None) -> Reply:
    """An error as every client of the API expects it."""
    return {"error": {"message": message, "type": kind, "param": param, "code": code}}
