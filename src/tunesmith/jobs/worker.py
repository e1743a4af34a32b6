"""The worker: takes a job, carries it one state on, and reports.

The decision: a worker only watches. The work is the ordinary `tunesmith` command in a child process, so a job that
runs out of memory or crashes takes nobody along; and what it did is read from its run folder.
"""

import json
import logging
import os
import socket
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from tunesmith.errors import TunesmithError
from tunesmith.jobs import webhooks
from tunesmith.jobs.child import Child, end_orphan
from tunesmith.jobs.files import RESULTS, Described, insert
from tunesmith.jobs.home import Home, keep
from tunesmith.jobs.lifecycle import tell
from tunesmith.jobs.names import checkpoint_name, model_name, new_id, random_text
from tunesmith.jobs.queue import Fenced, Lease, Queue
from tunesmith.jobs.recipe import auto_epochs, places, settings
from tunesmith.jobs.results import Entry, entries, metrics, publish_checkpoints, step_metrics, weights
from tunesmith.jobs.store import Store
from tunesmith.jobs.tables import Checkpoint, Event, Job, Model
from tunesmith.jobs.validation import Verdict, judge, last_error

log = logging.getLogger("tunesmith.jobs")
INTERRUPTED = 130
MOST_ATTEMPTS = 3
"""So often a job is taken up again after its process was killed."""
SAVING_SECONDS = 600.0


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
        try:
            end_orphan(lease.job.child)
            if lease.job.attempts > MOST_ATTEMPTS:
                self._fail(lease, _killed(lease.job.attempts - 1))
            elif lease.job.validated:
                self._train(lease)
            else:
                self._validate(lease)
        except Fenced:
            return True
        except (OSError, TunesmithError) as error:
            self._fail(lease, _trouble("server_error", f"The server could not work on this job: {error}"))
        return True

    def _validate(self, lease: Lease) -> None:
        job, folder = lease.job, self._shop.home.job(lease.job.id)
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

    def _train(self, lease: Lease) -> None:
        job, folder = lease.job, self._shop.home.job(lease.job.id)
        run, console = folder / "run", folder / "console.txt"
        started = (run / "recipe.yaml").is_file()
        validation = Path("validation.jsonl") if job.validation_file else None
        if started:
            words = ["train", "--resume", "run"]
        else:
            chosen = settings(job.hyperparameters, job.recipe, job.seed)
            words = ["train", *places(Path("train.jsonl"), validation, self._source(job), Path("run")), *chosen]
        with self._queue.report(lease) as (session, row):
            row.status = "running"
            message = "Fine-tuning job resumed from its last checkpoint" if started else "Fine-tuning job started"
            tell(session, job.id, message, self._shop.store.now)
        console.unlink(missing_ok=True)
        code = self._watch(lease, Child([*self._shop.command, *words], folder, console), run)
        if code == 0:
            self._succeed(lease, run)
        elif code == INTERRUPTED and self._stop.is_set():
            self._again(lease, "queued", blame=False)
        elif code is None or code < 0 or code == INTERRUPTED:
            self._again(lease, "queued")
        else:
            said = last_error(console) or f"training ended with code {code}"
            self._fail(lease, _trouble(_code_of(said, code), self._plain(said)))

    def _watch(self, lease: Lease, child: Child, run: Path) -> int | None:
        """The child's exit code, after telling its steps; it is ended when the job is no longer ours."""
        try:
            with self._queue.report(lease) as (_, job):
                job.child = child.place
            code, at, asked = None, 0, False
            while code is None:
                code = child.wait(self._shop.poll)
                fresh, at = entries(run / "metrics.jsonl", at)
                with self._queue.report(lease) as (session, job):
                    self._tell_steps(session, job, run, fresh)
                if self._stop.is_set() and not asked:
                    child.ask_to_end()
                    asked = True
            return INTERRUPTED if asked and code != 0 else code
        except Fenced as fenced:
            if fenced.status == "paused":
                child.ask_to_end()
                child.wait(SAVING_SECONDS)
            child.kill()
            raise
        except BaseException:
            child.kill()
            raise

    def _tell_steps(self, session: Session, job: Job, run: Path, fresh: Sequence[Entry]) -> None:
        if not fresh:
            return
        marks = [f"step-{entry['step']}" for entry in fresh]
        known = set(session.scalars(select(Event.mark).where(Event.job_id == job.id, Event.mark.in_(marks))))
        resolved = _resolved(run)
        total = resolved.get("steps")
        for mark, entry in zip(marks, fresh, strict=True):
            if mark in known:
                continue
            session.add(
                Event(
                    id=new_id("ftevent"),
                    job_id=job.id,
                    created_at=self._shop.store.now,
                    level="info",
                    type="metrics",
                    message=_step(entry, total),
                    data={**metrics(entry), "total_steps": total},
                    mark=mark,
                )
            )
        job.hyperparameters = {**job.hyperparameters, **_shown(job.hyperparameters, resolved)}
        if total:
            seconds = sum(entry.get("seconds", 0) for entry in fresh) / len(fresh)
            job.estimated_finish = self._shop.store.now + int(seconds * (total - fresh[-1]["step"]))

    def _succeed(self, lease: Lease, run: Path) -> None:
        """All that a finished job shows, in one transaction, after its bytes are on the disk."""
        home, now, folder = self._shop.home, self._shop.store.now, weights(run)
        journal, _ = entries(run / "metrics.jsonl")
        if folder is None:
            return self._fail(lease, _trouble("server_error", "The run ended without weights."))
        name = model_name(lease.job.model, lease.job.suffix, lease.job.id)
        file, content = new_id("file"), step_metrics(journal)
        keep(home.file(file), [content], len(content))
        made = list(publish_checkpoints(run, home.job(lease.job.id) / "checkpoints", journal))
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

    def _again(self, lease: Lease, status: str, *, blame: bool = True) -> None:
        with self._queue.report(lease) as (_, job):
            job.attempts = job.attempts if blame else 0
            job.status, job.owner, job.leased_until, job.child = status, None, None, None

    def _source(self, job: Job) -> str:
        """The model that a job starts from, as the command line understands it."""
        if job.model in self._shop.bases:
            return self._shop.bases[job.model]
        with self._shop.store.read() as session:
            folder = session.scalar(select(Model.folder).where(Model.name == job.model))
        return str(self._shop.home.root / folder) if folder is not None else job.model

    def _plain(self, text: str) -> str:
        """A message without the server's own paths."""
        return text.replace(f"{self._shop.home.root}/", "")


def _step(entry: Entry, total: int | None) -> str:
    parts = [f"training loss={entry['loss']:.2f}" if entry.get("loss") is not None else "training loss is not finite"]
    if entry.get("validation_loss") is not None:
        parts.append(f"validation loss={entry['validation_loss']:.2f}")
    return f"Step {entry['step']}/{total or '?'}: {', '.join(parts)}"


def _resolved(run: Path) -> dict[str, Any]:
    """Some numbers of the resolved recipe."""
    from tunesmith.recipe import load_recipe

    training = load_recipe(str(run / "recipe.yaml")).recipe.training
    return {"steps": training.steps, "batch_size": training.batch_size, "n_epochs": training.epochs}


def _shown(asked: dict[str, Any], resolved: dict[str, Any]) -> dict[str, Any]:
    """What stands for `auto` once the run has decided it."""
    shown = {name: resolved[name] for name in ("batch_size", "n_epochs") if asked[name] == "auto" and resolved[name]}
    return {**shown, **({"learning_rate_multiplier": 1.0} if asked["learning_rate_multiplier"] == "auto" else {})}


def _says_epochs(recipe: dict[str, Any]) -> bool:
    training = recipe.get("training") or {}
    return "epochs" in training or "steps" in training


def _trouble(code: str, message: str) -> dict[str, Any]:
    return {"code": code, "message": message, "param": None}


def _killed(times: int) -> dict[str, Any]:
    return _trouble(
        "out_of_memory",
        f"The training process was killed {times} times, most likely because the machine had no memory left. "
        "Use shorter examples, a smaller model, or tunesmith: {training: {micro_batch_tokens: …}}.",
    )


def _code_of(said: str, code: int) -> str:
    if "disk is full" in said or "No space left" in said:
        return "disk_full"
    return {2: "invalid_hyperparameters", 3: "invalid_training_file"}.get(code, "training_failed")
