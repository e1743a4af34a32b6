"""A service without a web: a store, a home, and a worker whose command learns nothing."""

import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tunesmith.jobs.files import Described, Files
from tunesmith.jobs.home import Home
from tunesmith.jobs.lifecycle import Jobs
from tunesmith.jobs.pages import Page
from tunesmith.jobs.request import JobRequest
from tunesmith.jobs.store import Store, database_url
from tunesmith.jobs.tables import Job
from tunesmith.jobs.worker import Worker, Workshop

FAKE = (sys.executable, str(Path(__file__).parents[2] / "fake_tunesmith.py"))


@dataclass
class Clock:
    """A time that passes when it is told to."""

    now: float = 1_800_000_000.0

    def __call__(self) -> float:
        return self.now


@dataclass
class Bench:
    """What the tests of jobs work with."""

    store: Store
    home: Home
    clock: Clock
    files: Files
    jobs: Jobs
    stop: threading.Event = field(default_factory=threading.Event)

    def worker(self) -> Worker:
        """One more worker."""
        return Worker(Workshop(self.store, self.home, {"base": "base"}, FAKE, poll=0.01), self.stop)

    def create(self, text: str = "{}\n" * 20, **asked: object) -> Job:
        """A job on a file with this content."""
        file = self.files.add(Described("a.jsonl", "fine-tune"), [text.encode()])
        return self.jobs.create(JobRequest.model_validate({"model": "base", "training_file": file.id, **asked}))

    def messages(self, job: Job) -> list[str]:
        """What was told of a job, oldest first."""
        return [event.message for event in reversed(self.jobs.events(job.id, Page(100))[0])]


def bench_on(url: str, home: Home) -> Bench:
    """A service on a database that is brought to this version."""
    clock = Clock()
    store = Store(url, clock=clock)
    store.migrate()
    return Bench(store, home, clock, Files(store, home), Jobs(store, home, {"base": "base"}))


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    """A fresh service on SQLite."""
    found = bench_on(database_url(tmp_path, None), Home(tmp_path))
    yield found
    found.store.close()


@pytest.fixture
def finished(bench: Bench) -> Callable[[Job], Job]:
    """The job after a worker has done with it."""

    def finish(job: Job) -> Job:
        worker = bench.worker()
        while worker.work_once():
            continue
        return bench.jobs.get(job.id)

    return finish
