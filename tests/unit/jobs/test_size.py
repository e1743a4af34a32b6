"""A service with a long past: a thousand jobs that wait, a hundred thousand events."""

import time
from typing import Any

import pytest
from sqlalchemy import insert

from tunesmith.jobs.lifecycle import Jobs
from tunesmith.jobs.pages import Page
from tunesmith.jobs.queue import Queue
from tunesmith.jobs.store import Store
from tunesmith.jobs.tables import Event, Job

pytestmark = pytest.mark.whole

JOBS, EVENTS, LONGEST = 1_000, 100_000, 20_000


def _filled(bench: Any) -> str:
    """Make the past; returns the job that has most events."""
    plain = {
        "created_at": 1, "status": "queued", "model": "base", "training_file": "file-x", "seed": 0, "recipe": {},
        "hyperparameters": {"n_epochs": 1, "batch_size": "auto", "learning_rate_multiplier": "auto"},
        "result_files": [], "validated": True, "request_hash": "", "fence": 0, "attempts": 0,
    }  # fmt: skip
    told = {"created_at": 1, "level": "info", "type": "message", "message": "told"}
    owners = ["ftjob-0"] * LONGEST + [f"ftjob-{n % JOBS}" for n in range(EVENTS - LONGEST)]
    with bench.store.write() as session:
        session.execute(insert(Job), [{**plain, "id": f"ftjob-{n}"} for n in range(JOBS)])
        session.execute(insert(Event), [{**told, "id": f"e-{n}", "job_id": id} for n, id in enumerate(owners)])
    return "ftjob-0"


def _all(page: Any) -> list[str]:
    found, more = page(Page(100))
    ids = [row.id for row in found]
    while more:
        rows, more = page(Page(100, ids[-1]))
        ids += [row.id for row in rows]
    return ids


def test_a_long_past_is_listed_whole_and_a_server_on_it_begins_at_once(bench: Any) -> None:
    busy = _filled(bench)
    events = _all(lambda asked: bench.jobs.events(busy, asked))
    assert len(events) == len(set(events)) == LONGEST + (EVENTS - LONGEST) // JOBS
    jobs = _all(lambda asked: bench.jobs.page(asked, {}))
    assert jobs == [f"ftjob-{n}" for n in reversed(range(JOBS))]
    began = time.process_time()
    store = Store(f"sqlite:///{bench.home.root / 'service.db'}")
    store.migrate()
    assert Jobs(store, bench.home, {}).counts() == {"queued": JOBS}
    lease = Queue(store, "worker").take()
    assert lease is not None
    assert lease.job.id == "ftjob-0"
    assert time.process_time() - began < 5  # processor time, so that a busy machine proves nothing
    store.close()
