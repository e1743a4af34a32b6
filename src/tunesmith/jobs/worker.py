"""The worker: takes a job, carries it one state on, and reports.

The decision: a worker only watches. The work is the ordinary `tunesmith` command in a child process, so a job that
runs out of memory or crashes takes nobody along; and what it did is read from its run folder.
"""

import json
import logging
import os
import socket
import sys
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from sqlalchemy import select

from tunesmith.errors import TunesmithError
from tunesmith.jobs import webhooks
from tunesmith.jobs.child import Child, end_orphan
from tunesmith.jobs.files import RESULTS, Described, insert
from tunesmith.jobs.home import Home, keep
from tunesmith.jobs.lifecycle import tell
from tunesmith.jobs.mirror import OVER
from tunesmith.jobs.names import checkpoint_name, model_name, new_id, random_text
from tunesmith.jobs.queue import Fenced, Lease, Queue
from tunesmith.jobs.recipe import auto_epochs, places, settings
from tunesmith.jobs.results import Follower, entries, metrics, publish_checkpoints, step_metrics, weights
from tunesmith.jobs.shared import Saver
from tunesmith.jobs.store import Store
from tunesmith.jobs.tables import Checkpoint, Job, Model
from tunesmith.jobs.telling import code_of, killed, tell_steps, trouble
from tunesmith.jobs.validation import Verdict, judge, last_error

log = logging.getLogger("tunesmith.jobs")
INTERRUPTED = 130
MIRROR_SECONDS = 60.0
Result = TypeVar("Result")
MOST_ATTEMPTS = 3
"""So often a job is taken up again after its process was killed."""
SAVING_SECONDS = 600.0
BASE = "base"
"""In a job's folder: the model that it starts from, where that is an adapter and had to be merged first."""


@dataclass(frozen=True, slots=True)
class Workshop:
    """What a worker works with: `command` starts Tunesmith, `bases` are the models by the name that clients use."""

    store: Store
    home: Home
    bases: dict[str, str]
    command: Sequence[str]
    poll: float = 0.5


class Worker:
    """One job after another until it is told to stop."""

    def __init__(self, shop: Workshop, stop: threading.Event) -> None:
        self._shop, self._stop = shop, stop
        self._queue = Queue(shop.store, f"{socket.gethostname()}:{os.getpid()}:{random_text(8)}")

    def run(self) -> None:
        """Work until told to stop; jobs at work are then saved and wait again."""
        while not self._stop.is_set():
            try:
                worked = self.work_once()
            except Exception:
                # A worker outlives every job: this one is taken up again when its lease ends, a few times at most.
                log.exception("a job could not be carried on")
                worked = False
            if not worked:
                self._stop.wait(self._shop.poll)

    def work_once(self) -> bool:
        """Carry one waiting job one state on; False when none waits."""
        lease = self._queue.take()
        if lease is None:
            return False
        log.info("takes a job up", extra={"job": lease.job.id, "status": lease.job.status})
        try:
            end_orphan(lease.job.child)
            if lease.job.attempts > MOST_ATTEMPTS:
                self._fail(lease, killed(lease.job.attempts - 1))
            elif lease.job.validated:
                self._train(lease)
            else:
                self._validate(lease)
        except Fenced:
            return True
        except (OSError, TunesmithError) as error:
            self._fail(lease, trouble("server_error", f"The server could not work on this job: {error}"))
        return True

    def _validate(self, lease: Lease) -> None:
        job, folder = lease.job, self._shop.home.job(lease.job.id)
        self._bring_data(job)
        verdicts = []
        for param, name in (("training_file", "train.jsonl"), ("validation_file", "validation.jsonl")):
            if getattr(job, param) is None:
                continue
            chosen = settings(job.hyperparameters, job.recipe, job.seed)
            words = ["data", "check", name, *chosen, "--model", self._source(job), "--json"]
            printed, console = folder / f"{name}.check.json", folder / f"{name}.console.txt"
            child = Child([*self._shop.command, *words], folder, console, printed)
            code = self._watch(lease, child, folder / "none")
            if code == INTERRUPTED and self._stop.is_set():
                return self._queue.give_back(lease, "validating_files")
            if code is None or code < 0:
                return self._again(lease, "validating_files")
            verdicts.append(judge(param, code, printed, console))
        return self._judged(lease, verdicts)

    def _judged(self, lease: Lease, verdicts: Sequence[Verdict]) -> None:
        bad = next((verdict for verdict in verdicts if verdict.error is not None), None)
        if bad is not None and bad.error is not None:
            return self._fail(lease, dict(bad.error), bad.lines)
        with self._queue.report(lease) as (session, job):
            chosen = dict(job.hyperparameters)
            if chosen["n_epochs"] == "auto" and not _says_epochs(job.recipe):
                chosen["n_epochs"] = auto_epochs(verdicts[0].examples)
            job.hyperparameters, job.validated, job.status, job.attempts = chosen, True, "queued", 0
            job.owner, job.leased_until = None, None
            tell(session, job.id, "Files validated, moving job to queued state", self._shop.store.now)
        return None

    def _bring_data(self, job: Job) -> None:
        """The job's data and folder are on this machine."""
        folder = self._shop.home.job(job.id)
        folder.mkdir(parents=True, exist_ok=True)
        for name in ("train.jsonl", *(["validation.jsonl"] if job.validation_file else [])):
            self._shop.home.fetched(folder / name)

    def _base(self, lease: Lease) -> str | None:
        """The model to train: that of the job, or, where it is an adapter, a model into which it was merged.

        None when the job was given back, because its worker stops or the merging was killed.
        """
        home, source = self._shop.home, self._source(lease.job)
        folder = home.job(lease.job.id)
        if not (Path(source) / "adapter_config.json").is_file():
            return source
        if not home.fetched(folder / BASE).is_dir():
            console = folder / "merge.console.txt"
            words = ["export", source, "--to", str(folder / BASE), "--merge"]
            code = self._watch(lease, Child([*self._shop.command, *words], folder, console), folder / "none")
            if code is None or code < 0 or code == INTERRUPTED:
                self._again(lease, "queued", blame=code != INTERRUPTED)
                return None
            if code:
                self._fail(lease, trouble("server_error", self._plain(last_error(console) or "merging failed")))
                return None
            self._during(lease, lambda: home.share(folder / BASE))
        return str(folder / BASE)

    def _train(self, lease: Lease) -> None:
        job, folder = lease.job, self._shop.home.job(lease.job.id)
        run, console = folder / "run", folder / "console.txt"
        self._bring_data(job)
        shared = self._shop.home.shared
        if shared is not None:
            self._during(lease, lambda: shared.take_run(folder, lease.fence))
        source = self._base(lease)
        if source is None:
            return
        started = (run / "recipe.yaml").is_file()
        validation = Path("validation.jsonl") if job.validation_file else None
        if started:
            words = ["train", "--resume", "run"]
        else:
            chosen = settings(job.hyperparameters, job.recipe, job.seed)
            words = ["train", *places(Path("train.jsonl"), validation, source, Path("run")), *chosen]
        with self._queue.report(lease) as (session, row):
            row.status = "running"
            message = "Fine-tuning job resumed from its last checkpoint" if started else "Fine-tuning job started"
            tell(session, job.id, message, self._shop.store.now)
        console.unlink(missing_ok=True)
        mirrors = self._mirrors(job, folder)
        try:
            code = self._watch(lease, Child([*self._shop.command, *words], folder, console), run)
        except BaseException:
            for mirror in mirrors:
                mirror.kill()
            raise
        self._end(lease, mirrors)
        if code == 0:
            self._succeed(lease, run)
        elif code == INTERRUPTED and self._stop.is_set():
            self._again(lease, "queued", blame=False)
        elif code is None or code < 0 or code == INTERRUPTED:
            self._again(lease, "queued")
        else:
            said = last_error(console) or f"training ended with code {code}"
            self._fail(lease, trouble(code_of(said, code), self._plain(said)))

    def _mirrors(self, job: Job, folder: Path) -> list[Child]:
        """A process for each integration, that tells it the job's metrics."""
        (folder / OVER).unlink(missing_ok=True)
        python, told = [sys.executable, "-m", "tunesmith.jobs.mirror", job.id], folder / "integrations.txt"
        return [Child([*python, json.dumps(found["wandb"])], folder, told) for found in job.integrations or ()]

    def _end(self, lease: Lease, mirrors: Sequence[Child]) -> None:
        """The processes are gone; one that could not tell what it had to is told of."""
        if mirrors:
            (self._shop.home.job(lease.job.id) / OVER).touch()
        for mirror in mirrors:
            if self._during(lease, partial(mirror.wait, MIRROR_SECONDS)) != 0:
                mirror.kill()
                with self._queue.report(lease) as (session, job):
                    message = "Weights & Biases did not take the metrics; the job is not affected"
                    tell(session, job.id, message, self._shop.store.now, level="warn")

    def _during(self, lease: Lease, work: Callable[[], Result]) -> Result:
        """What `work` returns; the lease is kept alive meanwhile."""
        with ThreadPoolExecutor(1) as pool:
            future = pool.submit(work)
            while not future.done():
                wait([future], max(self._shop.poll, 0.05))
                with self._queue.report(lease):
                    pass
            return future.result()

    def _watch(self, lease: Lease, child: Child, run: Path) -> int | None:
        """The child's exit code, after telling its steps; it is ended when the job is no longer ours."""
        saver = Saver(self._shop.home.shared, run, lease.fence)
        try:
            with self._queue.report(lease) as (_, job):
                job.child = child.place
            code, journal, asked = None, Follower(run / "metrics.jsonl"), False
            while code is None:
                code = child.wait(self._shop.poll)
                saver.look()
                fresh = journal.fresh()
                with self._queue.report(lease) as (session, job):
                    tell_steps(session, job, run, fresh, self._shop.store.now)
                if self._stop.is_set() and not asked:
                    child.ask_to_end()
                    asked = True
            self._during(lease, saver.finish)
            return INTERRUPTED if asked and code != 0 else code
        except Fenced as fenced:
            if fenced.status == "paused":
                child.ask_to_end()
                child.wait(SAVING_SECONDS)
                saver.finish()
            child.kill()
            raise
        except BaseException:
            child.kill()
            raise

    def _succeed(self, lease: Lease, run: Path) -> None:
        """All that a finished job shows, in one transaction, after its bytes are on the disk."""
        home, now, folder = self._shop.home, self._shop.store.now, weights(run)
        journal = entries(run / "metrics.jsonl")
        if folder is None:
            return self._fail(lease, trouble("server_error", "The run ended without weights."))
        name = model_name(lease.job.model, lease.job.suffix, lease.job.id)
        file, content = new_id("file"), step_metrics(journal)
        keep(home.file(file), [content], len(content))
        made = list(publish_checkpoints(run, home.job(lease.job.id) / "checkpoints", journal))
        self._during(lease, lambda: [home.share(path) for path in (home.file(file), folder, *(p for _, p in made))])
        report = json.loads((run / "report.json").read_text(encoding="utf-8"))
        with self._queue.report(lease) as (session, job):
            insert(session, file, len(content), Described("step_metrics.csv", RESULTS), now)
            served = [(name, folder)]
            for entry, place in made:
                called = checkpoint_name(name, entry["step"])
                served.append((called, place))
                session.add(
                    Checkpoint(
                        id=new_id("ftckpt"),
                        job_id=job.id,
                        created_at=now,
                        step=entry["step"],
                        name=called,
                        metrics=metrics(entry),
                    )
                )
                tell(session, job.id, f"Checkpoint created at step {entry['step']}", now)
            for called, place in served:
                relative = str(place.relative_to(home.root))
                session.add(Model(name=called, created_at=now, folder=relative, job_id=job.id))
            job.status, job.finished_at, job.fine_tuned_model = "succeeded", now, name
            job.result_files, job.trained_tokens = [file], int(report["tokens"])
            job.owner = job.leased_until = job.estimated_finish = job.child = None
            tell(session, job.id, f"New fine-tuned model created: {name}", now)
            tell(session, job.id, "The job has successfully completed", now)
            webhooks.notify(session, "fine_tuning.job.succeeded", job.id, now)
        log.info("has a model", extra={"job": lease.job.id, "status": "succeeded"})
        return None

    def _fail(self, lease: Lease, error: dict[str, Any], lines: Sequence[str] = ()) -> None:
        now = self._shop.store.now
        with self._queue.report(lease) as (session, job):
            for line in reversed(lines):
                tell(session, job.id, self._plain(line), now, level="error")
            error["message"] = self._plain(error["message"])
            tell(session, job.id, error["message"], now, level="error")
            job.status, job.finished_at, job.error = "failed", now, error
            job.owner = job.leased_until = job.estimated_finish = job.child = None
            webhooks.notify(session, "fine_tuning.job.failed", job.id, now)
        log.warning(error["message"], extra={"job": lease.job.id, "status": "failed"})

    def _again(self, lease: Lease, status: str, *, blame: bool = True) -> None:
        with self._queue.report(lease) as (_, job):
            job.attempts = job.attempts if blame else 0
            job.status, job.owner, job.leased_until, job.child = status, None, None, None

    def _source(self, job: Job) -> str:
        """The model that a job starts from, as the command line understands it."""
        if job.model in self._shop.bases:
            return self._shop.bases[job.model]
        with self._shop.store.read() as session:
            row = session.scalar(select(Model).where(Model.name == job.model))
        if row is None:
            return job.model
        self._shop.home.fetched(self._shop.home.job(row.job_id) / BASE)
        return str(self._shop.home.fetched(self._shop.home.root / row.folder))

    def _plain(self, text: str) -> str:
        """A message without the server's own paths."""
        return text.replace(f"{self._shop.home.root}/", "")


def _says_epochs(recipe: dict[str, Any]) -> bool:
    training = recipe.get("training") or {}
    return "epochs" in training or "steps" in training
