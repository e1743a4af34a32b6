"""Jobs: how they begin, what may happen to them from outside, and what was told of them.

    validating_files → queued → running → succeeded | failed       cancelled from any unfinished; running ⇄ paused

The decision: an order from outside (cancel, pause) is carried out by one transaction that raises the job's fence. The
worker that had the job may then write no more, learns so at its next report, and ends its child; nobody waits for it.
"""

import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from tunesmith.errors import RequestError
from tunesmith.jobs import mirror, webhooks
from tunesmith.jobs.files import find as find_file
from tunesmith.jobs.home import Home
from tunesmith.jobs.names import new_id
from tunesmith.jobs.pages import Page, page
from tunesmith.jobs.recipe import settings
from tunesmith.jobs.request import JobRequest
from tunesmith.jobs.store import Store
from tunesmith.jobs.tables import Checkpoint, Event, Job, Key, Model

FINAL = ("succeeded", "failed", "cancelled")
ACTIVE = ("validating_files", "queued", "running")
REPEATED_WITHIN = 600
"""Seconds in which a create that says that it is a retry, and asks for the same, is the same."""


@dataclass(frozen=True, slots=True)
class Sender:
    """Who creates: its key and project, its limit of unfinished jobs, and what tells a repeat from a new request."""

    key_id: str | None = None
    project: str | None = None
    most_jobs: int = 1000
    request_key: str | None = None
    retry: bool = False


class Jobs:
    """The jobs of a service. `bases` are the models that may be tuned, by the name that clients use."""

    def __init__(self, store: Store, home: Home, bases: Mapping[str, str]) -> None:
        self._store, self._home, self._bases = store, home, bases

    def create(self, asked: JobRequest, sender: Sender = Sender()) -> Job:
        """The new job; or, for a request that was sent again, the job that it made the first time.

        Raises:
            RequestError: something in it cannot be granted.
        """
        with self._store.write() as session:
            # One create of a key at a time: two that were sent at once must not both find nothing.
            session.execute(select(Key.seq).where(Key.id == sender.key_id).with_for_update())
            known = self._repeated(session, asked, sender)
            if known is not None:
                return known
            self._refuse(session, asked, sender)
            seed = asked.seed if asked.seed is not None else 0
            settings(asked.chosen, asked.tunesmith or {}, seed)
            job = self._new(asked, sender, seed)
            self._link_data(job)
            session.add(job)
            session.flush()
            tell(session, job.id, f"Created fine-tuning job: {job.id}", self._store.now)
            files = f"training file: {job.training_file}"
            files += f" and validation file: {job.validation_file}" if job.validation_file else ""
            tell(session, job.id, f"Validating {files}", self._store.now)
            return job

    def get(self, id: str) -> Job:
        """The job called `id`.

        Raises:
            RequestError: there is none.
        """
        with self._store.read() as session:
            return find(session, id)

    def page(self, asked: Page, labels: Mapping[str, str]) -> tuple[list[Job], bool]:
        """A page of the jobs, newest first; only those with these labels (`metadata`)."""
        query = select(Job)
        for name, value in labels.items():
            query = query.where(Job.labels[name].as_string() == value)
        with self._store.read() as session:
            return page(session, query, Job, asked)

    def events(self, id: str, asked: Page) -> tuple[list[Event], bool]:
        """A page of what happened to a job, newest first."""
        with self._store.read() as session:
            find(session, id)
            return page(session, select(Event).where(Event.job_id == id), Event, asked)

    def checkpoints(self, id: str, asked: Page) -> tuple[list[Checkpoint], bool]:
        """A page of a job's servable checkpoints, newest first."""
        with self._store.read() as session:
            find(session, id)
            return page(session, select(Checkpoint).where(Checkpoint.job_id == id), Checkpoint, asked)

    def cancel(self, id: str) -> Job:
        """The job, cancelled.

        Raises:
            RequestError: it has ended already.
        """
        with self._store.write() as session:
            job = self._ordered(session, id, "cancel", (*ACTIVE, "paused"), "cancelled")
            job.finished_at = self._store.now
            tell(session, id, "The job has been cancelled", self._store.now)
            webhooks.notify(session, "fine_tuning.job.cancelled", id, self._store.now)
            return job

    def pause(self, id: str) -> Job:
        """The job, paused: its run saves a checkpoint and ends.

        Raises:
            RequestError: it is not running.
        """
        with self._store.write() as session:
            job = self._ordered(session, id, "pause", ("running",), "paused")
            tell(session, id, "The job has been paused", self._store.now)
            return job

    def resume(self, id: str) -> Job:
        """The job, in the queue again; it goes on from its last checkpoint.

        Raises:
            RequestError: it is not paused.
        """
        with self._store.write() as session:
            job = self._ordered(session, id, "resume", ("paused",), "queued")
            tell(session, id, "The job has been resumed", self._store.now)
            return job

    def counts(self) -> dict[str, int]:
        """How many jobs there are in each state."""
        with self._store.read() as session:
            return dict(session.execute(select(Job.status, func.count()).group_by(Job.status)).all())

    def _repeated(self, session: Session, asked: JobRequest, sender: Sender) -> Job | None:
        if sender.request_key is not None:
            query = select(Job).where(Job.request_key == sender.request_key, Job.key_id == sender.key_id)
            job = session.scalar(query)
            if job is not None and job.request_hash != asked.sha256:
                raise RequestError(
                    "This Idempotency-Key was used for another request.", param="Idempotency-Key", code="key_reused"
                )
            if job is not None:
                return job
        if not sender.retry:
            return None
        recent = Job.created_at >= self._store.now - REPEATED_WITHIN
        same = select(Job).where(Job.request_hash == asked.sha256, Job.key_id == sender.key_id, recent)
        return session.scalar(same.order_by(Job.seq.desc()).limit(1))

    def _refuse(self, session: Session, asked: JobRequest, sender: Sender) -> None:
        if asked.method is not None and asked.method.type != "supervised":
            raise RequestError(
                f"method.type {asked.method.type} is not offered here yet; use supervised.",
                param="method.type", code="unsupported_method",
            )  # fmt: skip
        lack = mirror.missing() if asked.integrations else None
        if lack:
            raise RequestError(
                f"wandb is not offered here: {lack}. Follow the job's events instead.",
                param="integrations", code="unsupported_integration",
            )  # fmt: skip
        tuned = session.scalar(select(Model.name).where(Model.name == asked.model))
        if asked.model not in self._bases and tuned is None:
            raise RequestError(
                f"The model `{asked.model}` cannot be fine-tuned here. There are: {', '.join(self._bases)}.",
                param="model", code="model_not_found",
            )  # fmt: skip
        for param in ("training_file", "validation_file"):
            id = getattr(asked, param)
            if not id:
                continue
            try:
                file = find_file(session, id, self._store.now, param)
            except RequestError as error:
                raise RequestError(f"invalid {param}: {id}", param=param, code="file_not_found") from error
            if file.purpose != "fine-tune":
                raise RequestError(f"{id} was uploaded for {file.purpose}, not fine-tune.", param=param)
        unfinished = select(func.count()).where(Job.status.not_in(FINAL), Job.key_id == sender.key_id)
        if (session.scalar(unfinished) or 0) >= sender.most_jobs:
            raise RequestError(
                f"This key has {sender.most_jobs} unfinished jobs already, which is its limit.",
                status=429, code="too_many_jobs",
            )  # fmt: skip

    def _new(self, asked: JobRequest, sender: Sender, seed: int) -> Job:
        return Job(
            id=new_id("ftjob"), created_at=self._store.now, status="validating_files", model=asked.model,
            suffix=asked.suffix, training_file=asked.training_file, validation_file=asked.validation_file or None,
            seed=seed, hyperparameters=asked.chosen, recipe=asked.tunesmith or {}, labels=asked.metadata,
            result_files=[], key_id=sender.key_id, request_key=sender.request_key, request_hash=asked.sha256,
            fence=0, attempts=0, validated=False, project=sender.project,
            integrations=[found.model_dump(mode="json") for found in asked.integrations or ()],
        )  # fmt: skip

    def _link_data(self, job: Job) -> None:
        """The job's own names for its data, so that deleting the files does not touch it."""
        folder = self._home.job(job.id)
        folder.mkdir(parents=True)
        for id, name in ((job.training_file, "train.jsonl"), (job.validation_file, "validation.jsonl")):
            if id is None:
                continue
            file = self._home.fetched(self._home.file(id))
            try:
                os.link(file, folder / name)
            except OSError:
                shutil.copyfile(file, folder / name)
            self._home.share(folder / name)

    def _ordered(self, session: Session, id: str, order: str, states: tuple[str, ...], to: str) -> Job:
        job = find(session, id, lock=True)
        if job.status not in states:
            raise RequestError(f"Job {id} is {job.status}, so it cannot be told to {order}.", code="invalid_state")
        job.status, job.fence, job.owner, job.leased_until = to, job.fence + 1, None, None
        return job


def find(session: Session, id: str, *, lock: bool = False) -> Job:
    """The job called `id`.

    Raises:
        RequestError: there is none.
    """
    query = select(Job).where(Job.id == id)
    job = session.scalar(query.with_for_update() if lock else query)
    if job is None:
        raise RequestError(
            f"Could not find fine tune: {id}", status=404, code="fine_tune_not_found", param="fine_tune_id"
        )
    return job


def tell(session: Session, job: str, message: str, now: int, *, level: str = "info") -> None:
    """One more event of a job."""
    event = Event(id=new_id("ftevent"), job_id=job, created_at=now, level=level, type="message", message=message)
    session.add(event)
    session.flush()
