"""Leases: which worker has which job, and proof in every write that it still has it.

The decision: a lease is a row's owner, a time and a fence number. Taking a job raises the fence; every report of a
worker first locks the row and compares. So a worker that slept too long finds out before it can change anything.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from sqlalchemy import or_, select
from sqlalchemy.orm import Session

from tunesmith.jobs.lifecycle import ACTIVE
from tunesmith.jobs.store import Store
from tunesmith.jobs.tables import Job

LEASE_SECONDS = 30


class Fenced(Exception):
    """The job is no longer ours; `status` is what became of it."""

    def __init__(self, status: str) -> None:
        super().__init__(status)
        self.status = status


@dataclass(frozen=True, slots=True)
class Lease:
    """A job that is ours while its fence is this one."""

    job: Job
    fence: int


class Queue:
    """The jobs that wait for a worker, oldest first."""

    def __init__(self, store: Store, owner: str) -> None:
        self._store, self._owner = store, owner

    def take(self) -> Lease | None:
        """The oldest job that waits or whose worker fell silent; None when there is none."""
        now = self._store.now
        free = or_(Job.leased_until.is_(None), Job.leased_until < now)
        waiting = select(Job).where(Job.status.in_(ACTIVE), free).order_by(Job.seq).limit(1)
        with self._store.write() as session:
            job = session.scalar(waiting.with_for_update(skip_locked=True))
            if job is None:
                return None
            job.fence += 1
            job.attempts += 1
            job.owner, job.leased_until = self._owner, now + LEASE_SECONDS
            session.flush()
            return Lease(job, job.fence)

    @contextmanager
    def report(self, lease: Lease) -> Iterator[tuple[Session, Job]]:
        """A transaction in which the job is surely ours; the lease goes on from now.

        Raises:
            Fenced: it is not ours any more.
        """
        with self._store.write() as session:
            job = session.scalar(select(Job).where(Job.id == lease.job.id).with_for_update())
            if job is None or job.fence != lease.fence or job.owner != self._owner:
                raise Fenced("deleted" if job is None else job.status)
            job.leased_until = self._store.now + LEASE_SECONDS
            yield session, job

    def give_back(self, lease: Lease, status: str) -> None:
        """The job waits again, in state `status`.

        Raises:
            Fenced: it is not ours any more.
        """
        with self.report(lease) as (_, job):
            job.status, job.owner, job.leased_until = status, None, None
