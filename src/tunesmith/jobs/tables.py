"""The tables of the service.

The decision: what has to agree stands in one database and changes in one transaction; bytes (files, weights) stand in
folders and are named by rows that are written last. `seq` is the order of creation, and what pages are cut by.
"""

from typing import Any

from sqlalchemy import JSON, BigInteger, ForeignKey, Index, Integer, String, Text, UniqueConstraint
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

_SEQ = BigInteger().with_variant(Integer, "sqlite")
_ID = String(64)


class Table(DeclarativeBase):
    """What all tables have."""

    type_annotation_map = {dict[str, Any]: JSON, list[str]: JSON, int: BigInteger}  # noqa: RUF012


class File(Table):
    """An uploaded or resulting file; its bytes stand under its id."""

    __tablename__ = "files"
    seq: Mapped[int] = mapped_column(_SEQ, primary_key=True, autoincrement=True)
    id: Mapped[str] = mapped_column(_ID, unique=True)
    created_at: Mapped[int]
    expires_at: Mapped[int | None]
    bytes: Mapped[int]
    filename: Mapped[str] = mapped_column(Text)
    purpose: Mapped[str] = mapped_column(String(32))


class Upload(Table):
    """A file that arrives in parts."""

    __tablename__ = "uploads"
    seq: Mapped[int] = mapped_column(_SEQ, primary_key=True, autoincrement=True)
    id: Mapped[str] = mapped_column(_ID, unique=True)
    created_at: Mapped[int]
    expires_at: Mapped[int]
    bytes: Mapped[int]
    filename: Mapped[str] = mapped_column(Text)
    purpose: Mapped[str] = mapped_column(String(32))
    status: Mapped[str] = mapped_column(String(16))
    file_seconds: Mapped[int | None]
    file_id: Mapped[str | None] = mapped_column(_ID)


class Part(Table):
    """A part of an upload; its bytes stand in the upload's folder."""

    __tablename__ = "parts"
    seq: Mapped[int] = mapped_column(_SEQ, primary_key=True, autoincrement=True)
    id: Mapped[str] = mapped_column(_ID, unique=True)
    upload_id: Mapped[str] = mapped_column(ForeignKey("uploads.id"), index=True)
    created_at: Mapped[int]
    bytes: Mapped[int]


class Job(Table):
    """A fine-tuning job. `fence` grows with every lease and every order from outside; an older one may not write."""

    __tablename__ = "jobs"
    seq: Mapped[int] = mapped_column(_SEQ, primary_key=True, autoincrement=True)
    id: Mapped[str] = mapped_column(_ID, unique=True)
    created_at: Mapped[int]
    status: Mapped[str] = mapped_column(String(24))
    model: Mapped[str] = mapped_column(Text)
    suffix: Mapped[str | None] = mapped_column(Text)
    training_file: Mapped[str] = mapped_column(_ID)
    validation_file: Mapped[str | None] = mapped_column(_ID)
    seed: Mapped[int]
    hyperparameters: Mapped[dict[str, Any]]
    recipe: Mapped[dict[str, Any]]
    labels: Mapped[dict[str, Any] | None]
    error: Mapped[dict[str, Any] | None]
    fine_tuned_model: Mapped[str | None] = mapped_column(Text)
    finished_at: Mapped[int | None]
    estimated_finish: Mapped[int | None]
    trained_tokens: Mapped[int | None]
    result_files: Mapped[list[str]]
    validated: Mapped[bool] = mapped_column(default=False)
    key_id: Mapped[str | None] = mapped_column(_ID)
    request_key: Mapped[str | None] = mapped_column(String(300))
    request_hash: Mapped[str] = mapped_column(String(64))
    fence: Mapped[int] = mapped_column(default=0)
    owner: Mapped[str | None] = mapped_column(String(200))
    leased_until: Mapped[int | None]
    attempts: Mapped[int] = mapped_column(default=0)
    child: Mapped[dict[str, Any] | None]
    project: Mapped[str | None] = mapped_column(_ID)
    integrations: Mapped[list[Any] | None] = mapped_column(JSON)
    __table_args__ = (
        UniqueConstraint("key_id", "request_key", name="one_job_a_request"),
        Index("jobs_by_status", "status", "seq"),
    )


class Event(Table):
    """Something that happened to a job; `mark` keeps a repeated report of the same thing from being told twice."""

    __tablename__ = "events"
    seq: Mapped[int] = mapped_column(_SEQ, primary_key=True, autoincrement=True)
    id: Mapped[str] = mapped_column(_ID, unique=True)
    job_id: Mapped[str] = mapped_column(ForeignKey("jobs.id"))
    created_at: Mapped[int]
    level: Mapped[str] = mapped_column(String(8))
    type: Mapped[str] = mapped_column(String(16))
    message: Mapped[str] = mapped_column(Text)
    data: Mapped[dict[str, Any] | None]
    mark: Mapped[str | None] = mapped_column(String(64))
    __table_args__ = (UniqueConstraint("job_id", "mark", name="told_once"), Index("events_by_job", "job_id", "seq"))


class Checkpoint(Table):
    """Weights of a job after an epoch, servable under `name`."""

    __tablename__ = "checkpoints"
    seq: Mapped[int] = mapped_column(_SEQ, primary_key=True, autoincrement=True)
    id: Mapped[str] = mapped_column(_ID, unique=True)
    job_id: Mapped[str] = mapped_column(ForeignKey("jobs.id"), index=True)
    created_at: Mapped[int]
    step: Mapped[int]
    name: Mapped[str] = mapped_column(Text)
    metrics: Mapped[dict[str, Any]]


class Model(Table):
    """A model that a job made; `folder` is relative to the home."""

    __tablename__ = "models"
    seq: Mapped[int] = mapped_column(_SEQ, primary_key=True, autoincrement=True)
    name: Mapped[str] = mapped_column(String(400), unique=True)
    created_at: Mapped[int]
    folder: Mapped[str] = mapped_column(Text)
    job_id: Mapped[str] = mapped_column(ForeignKey("jobs.id"), index=True)


class Key(Table):
    """A key of a client: its hash, what it opens, how often and how much."""

    __tablename__ = "keys"
    seq: Mapped[int] = mapped_column(_SEQ, primary_key=True, autoincrement=True)
    id: Mapped[str] = mapped_column(_ID, unique=True)
    created_at: Mapped[int]
    revoked_at: Mapped[int | None]
    name: Mapped[str] = mapped_column(Text)
    salt: Mapped[str] = mapped_column(String(64))
    hash: Mapped[str] = mapped_column(String(128))
    scope: Mapped[str] = mapped_column(String(16))
    per_minute: Mapped[int]
    most_jobs: Mapped[int]
    project: Mapped[str | None] = mapped_column(_ID)


class Permission(Table):
    """A tuned model that a project may use although another one made it."""

    __tablename__ = "permissions"
    seq: Mapped[int] = mapped_column(_SEQ, primary_key=True, autoincrement=True)
    id: Mapped[str] = mapped_column(_ID, unique=True)
    created_at: Mapped[int]
    model: Mapped[str] = mapped_column(String(400))
    project: Mapped[str] = mapped_column(_ID)
    __table_args__ = (UniqueConstraint("model", "project", name="permitted_once"),)


class Webhook(Table):
    """Where a client wants to hear how its jobs ended."""

    __tablename__ = "webhooks"
    seq: Mapped[int] = mapped_column(_SEQ, primary_key=True, autoincrement=True)
    id: Mapped[str] = mapped_column(_ID, unique=True)
    created_at: Mapped[int]
    name: Mapped[str] = mapped_column(Text)
    url: Mapped[str] = mapped_column(Text)
    event_types: Mapped[list[str]]
    secret: Mapped[str] = mapped_column(String(128))


class Delivery(Table):
    """One message to one webhook, until it was taken or given up."""

    __tablename__ = "deliveries"
    seq: Mapped[int] = mapped_column(_SEQ, primary_key=True, autoincrement=True)
    id: Mapped[str] = mapped_column(_ID, unique=True)
    webhook_id: Mapped[str] = mapped_column(ForeignKey("webhooks.id", ondelete="CASCADE"), index=True)
    body: Mapped[str] = mapped_column(Text)
    attempts: Mapped[int] = mapped_column(default=0)
    next_at: Mapped[int]
