"""Kill a service's worker process at random moments, many times, and prove that nothing acknowledged is lost.

    python tests/kill_service.py --kills 200 --seed 0

Jobs are created while workers in processes of their own are killed (SIGKILL); the training command is a stand-in that
writes a run's files in a moment. Afterwards: every acknowledged file and job is there, every job ended as it must, no
step was told twice, and every listed model is whole.
"""

import argparse
import random
import subprocess
import sys
import tempfile
import threading
from pathlib import Path

from sqlalchemy import select

from tunesmith.jobs.files import Described, Files
from tunesmith.jobs.home import Home
from tunesmith.jobs.lifecycle import Jobs
from tunesmith.jobs.pages import Page
from tunesmith.jobs.request import JobRequest
from tunesmith.jobs.store import Store, database_url
from tunesmith.jobs.tables import Job, Model
from tunesmith.jobs.worker import Worker, Workshop

FAKE = (sys.executable, str(Path(__file__).with_name("fake_tunesmith.py")))
BASES = {"base": "base"}


class Late:
    """A clock that is so far ahead that a dead worker's lease has always ended."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds

    def __call__(self) -> float:
        return 1_800_000_000.0 + self.seconds


def work(root: Path, ahead: float) -> None:
    """Be a worker until killed, or until no job waits."""
    store = Store(database_url(root, None), clock=Late(ahead))
    worker = Worker(Workshop(store, Home(root), BASES, FAKE, poll=0.01), threading.Event())
    while worker.work_once():
        continue


def torture(root: Path, kills: int, seed: int) -> int:
    """Kill `kills` workers; returns how many of them were killed before they had nothing to do any more."""
    store, home, chance = Store(database_url(root, None), clock=Late(0)), Home(root), random.Random(seed)
    store.migrate()
    files, jobs, hit = Files(store, home), Jobs(store, home, BASES), 0
    created: list[str] = []
    for number in range(kills + 1):
        while number < kills and _unfinished(store) < 3:
            file = files.add(Described("a.jsonl", "fine-tune"), [b"{}\n" * 20])
            created.append(jobs.create(JobRequest(model="base", training_file=file.id)).id)
            assert files.get(file.id).bytes == 60
        child = subprocess.Popen([sys.executable, __file__, "--work", str(root), "--ahead", str(100 * number)])
        try:
            child.wait(chance.uniform(0.3, 3.0) if number < kills else 600)
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()
            hit += 1
        prove(store, home, created)
        with store.write() as session:
            for job in session.scalars(select(Job)):
                job.attempts = 0  # so many deaths are this script's doing, not the job's
    assert jobs.counts() == {"succeeded": len(created)}
    for id in created:
        steps = [e.message for e in jobs.events(id, Page(100))[0] if e.type == "metrics"]
        assert len(steps) == len(set(steps)) == 6, steps
    print(f"{hit} of {kills} workers killed at work; {len(created)} jobs, all succeeded, nothing lost")
    return hit


def prove(store: Store, home: Home, created: list[str]) -> None:
    """Every acknowledged job is in a legal state, and every listed model is whole."""
    legal = {"validating_files", "queued", "running", "succeeded"}
    with store.read() as session:
        found = {job.id: job for job in session.scalars(select(Job))}
        models = list(session.scalars(select(Model)))
    assert set(found) == set(created)
    assert {job.status for job in found.values()} <= legal
    for job in found.values():
        done = job.status == "succeeded"
        assert done == bool(job.finished_at) == bool(job.fine_tuned_model) == bool(job.result_files), job.id
    for model in models:
        assert (home.root / model.folder / "adapter_model.safetensors").is_file(), model.name


def _unfinished(store: Store) -> int:
    with store.read() as session:
        return len(list(session.scalars(select(Job.id).where(Job.status != "succeeded"))))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--work", type=Path)
    parser.add_argument("--ahead", type=float, default=0.0)
    given = parser.parse_args()
    if given.work is not None:
        work(given.work, given.ahead)
    else:
        with tempfile.TemporaryDirectory() as folder:
            torture(Path(folder), given.kills, given.seed)
