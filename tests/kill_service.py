"""Kill a service's writer, its worker, or both, at random moments, many times, and prove that nothing is lost.

    python tests/kill_service.py --kills 200 --seed 0

The writer does what requests do (stores a file, creates a job under an Idempotency-Key) and says each id when it is
acknowledged; after its death the same client sends the unanswered request again. The worker carries jobs out; the
training command is a stand-in that writes a run's files in a moment. Both are processes, killed with SIGKILL. After
each death: every acknowledged file and job is there, every job in a legal state, every listed model whole. At the end:
one job for each request, all succeeded, no step told twice.
"""

import argparse
import os
import random
import signal
import sys
import tempfile
import threading
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

from sqlalchemy import select

from tunesmith.jobs.files import Described, Files
from tunesmith.jobs.home import Home
from tunesmith.jobs.keys import Keys
from tunesmith.jobs.lifecycle import Jobs, Sender
from tunesmith.jobs.pages import Page
from tunesmith.jobs.request import JobRequest
from tunesmith.jobs.store import Store, database_url
from tunesmith.jobs.tables import File, Job, Model
from tunesmith.jobs.worker import Worker, Workshop

FAKE = (sys.executable, str(Path(__file__).with_name("fake_tunesmith.py")))
BASES = {"base": "base"}
A_TIME = 2
"""Jobs that the writer creates when nobody kills it."""


class Late:
    """A clock that is so far ahead that a dead worker's lease has always ended."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds

    def __call__(self) -> float:
        return 1_800_000_000.0 + self.seconds


class Process:
    """A copy of this process at one piece of work; what it prints can be read. (A fork, because it starts at once.)"""

    def __init__(self, task: Callable[..., None], *given: Any) -> None:
        out, into = os.pipe()
        self.id = os.fork()
        if self.id == 0:
            os.dup2(into, 1)
            try:
                task(*given)
            finally:
                os._exit(0 if sys.exc_info()[0] is None else 1)
        os.close(into)
        self.lines = os.fdopen(out, encoding="utf-8")
        self._status: int | None = None

    def alive(self) -> bool:
        """Whether it is still at work."""
        if self._status is None and (found := os.waitpid(self.id, os.WNOHANG))[0]:
            self._status = found[1]
        return self._status is None

    def kill(self) -> None:
        """It ends here and now."""
        if self.alive():
            os.kill(self.id, signal.SIGKILL)

    def end(self) -> int:
        """Its status, once it has ended."""
        if self._status is None:
            self._status = os.waitpid(self.id, 0)[1]
        self.lines.close()
        return self._status


def say(*words: object) -> None:
    """One line for whoever started this process."""
    os.write(1, (" ".join(map(str, words)) + "\n").encode())


def work(root: Path, ahead: float) -> None:
    """Be a worker until killed, or until no job waits."""
    store = Store(database_url(root, None), clock=Late(ahead))
    worker = Worker(Workshop(store, Home(root), BASES, FAKE, poll=0.01), threading.Event())
    say("ready")
    while worker.work_once():
        continue


def write(root: Path, number: int, file: str | None, ahead: float) -> None:
    """Be a server that is asked for some jobs, from request `number` on, whose file may be there already."""
    home, store = Home(root), Store(database_url(root, None), clock=Late(ahead))
    files, jobs = Files(store, home), Jobs(store, home, BASES)
    key = Keys(store).all()[0]
    say("ready")
    for at in range(number, number + A_TIME):
        if file is None:
            file = files.add(Described("a.jsonl", "fine-tune"), [b"{}\n" * 20]).id
            say("file", file)
        sender = Sender(key.id, request_key=f"request-{at}")
        say("job", jobs.create(JobRequest(model="base", training_file=file), sender).id)
        file = None


class Told:
    """What was acknowledged so far."""

    def __init__(self) -> None:
        self.files: list[str] = []
        self.jobs: list[str] = []
        self.open: str | None = None

    def hear(self, line: str) -> None:
        """A line of the writer."""
        kind, _, id = line.strip().partition(" ")
        if kind == "file":
            self.files.append(id)
            self.open = id
        elif kind == "job":
            self.jobs.append(id)
            self.open = None


def torture(root: Path, kills: int, seed: int) -> Counter[str]:
    """Kill `kills` times; returns how often whom, as far as they were still at work."""
    store, home, chance = Store(database_url(root, None), clock=Late(0)), Home(root), random.Random(seed)
    store.migrate()
    Keys(store).create("client", "admin")
    store.close()
    told, hits, number = Told(), Counter[str](), 0
    while hits.total() < kills:
        number += 1
        hits[_round(root, told, chance, number)] += 1
        del hits[""]
        prove(store, home, told)
        with store.write() as session:
            for job in session.scalars(select(Job)):
                job.attempts = 0  # so many deaths are this script's doing, not the job's
        store.close()  # nothing open is inherited by the next two
        if hits.total() % 20 == 0:
            print(f"{hits.total()} kills, {len(told.jobs)} jobs", file=sys.stderr, flush=True)
    store.close()
    for begin in (lambda: _writer(root, told, number + 1), lambda: _worker(root, number + 2)):
        process = begin()
        for line in process.lines:
            told.hear(line)
        assert process.end() == 0
    prove(store, home, told)
    jobs = Jobs(store, home, BASES)
    assert jobs.counts() == {"succeeded": len(told.jobs)}, jobs.counts()
    for id in told.jobs:
        steps = [e.message for e in jobs.events(id, Page(100))[0] if e.type == "metrics"]
        assert len(steps) == len(set(steps)) == 6, steps
    store.close()
    print(f"killed: {dict(hits)}; {len(told.jobs)} jobs, one for each request, all succeeded, nothing lost")
    return hits


def _worker(root: Path, number: int) -> Process:
    return Process(work, root, 100.0 * number)


def _writer(root: Path, told: Told, number: int) -> Process:
    return Process(write, root, len(told.jobs), told.open, 100.0 * number)


def _round(root: Path, told: Told, chance: random.Random, number: int) -> str:
    """Let both work, kill some of them at a random moment; returns who was still at work then."""
    at_work = {"server": _writer(root, told, number), "worker": _worker(root, number)}
    victims = chance.choice([["server"], ["worker"], ["server", "worker"]])
    heard = list[str]()
    for name in victims:
        at_work[name].lines.readline()  # it has begun
    readers = [threading.Thread(target=lambda p=process: heard.extend(p.lines)) for process in at_work.values()]
    for reader in readers:
        reader.start()
    threading.Event().wait(chance.uniform(0.0, 0.05 if victims == ["server"] else 1.0))
    hit = [name for name in victims if at_work[name].alive()]
    for name in victims:
        at_work[name].kill()
    for reader, process in zip(readers, at_work.values(), strict=True):
        reader.join()
        process.end()
    for line in heard:
        told.hear(line)
    return "both" if len(hit) == 2 else "".join(hit)


def prove(store: Store, home: Home, told: Told) -> None:
    """Everything acknowledged is there, every job is in a legal state, and every listed model is whole."""
    legal = {"validating_files", "queued", "running", "succeeded"}
    with store.read() as session:
        found = {job.id: job for job in session.scalars(select(Job))}
        files = set(session.scalars(select(File.id)))
        models = list(session.scalars(select(Model)))
    assert set(told.jobs) <= set(found)
    assert len({job.request_key for job in found.values()}) == len(found) <= len(told.jobs) + 1
    assert set(told.files) <= files
    assert all(home.file(id).is_file() for id in files)
    assert {job.status for job in found.values()} <= legal
    for job in found.values():
        done = job.status == "succeeded"
        assert done == bool(job.finished_at) == bool(job.fine_tuned_model) == bool(job.result_files), job.id
    for model in models:
        assert (home.root / model.folder / "adapter_model.safetensors").is_file(), model.name


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        torture(Path(folder), given.kills, given.seed)
