"""What a worker tells of a job: its steps, its troubles, and what stands for `auto`."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from tunesmith.jobs.names import new_id
from tunesmith.jobs.results import Entry, metrics
from tunesmith.jobs.tables import Event, Job
from tunesmith.recipe import load_recipe

AT_ONCE = 1000
"""Steps that are asked for at once: a database takes only so many values in one question."""


def tell_steps(session: Session, job: Job, run: Path, fresh: Sequence[Entry], now: int) -> None:
    """One metrics event for each step that was not told yet."""
    if not fresh:
        return
    marks = [f"step-{entry['step']}" for entry in fresh]
    known = set[str | None]()
    for at in range(0, len(marks), AT_ONCE):
        part = Event.mark.in_(marks[at : at + AT_ONCE])
        known |= set(session.scalars(select(Event.mark).where(Event.job_id == job.id, part)))
    resolved = _resolved(run)
    total = resolved.get("steps")
    for mark, entry in zip(marks, fresh, strict=True):
        if mark in known:
            continue
        event = Event(
            id=new_id("ftevent"), job_id=job.id, created_at=now, level="info", type="metrics",
            message=_step(entry, total), data={**metrics(entry), "total_steps": total}, mark=mark,
        )  # fmt: skip
        session.add(event)
    job.hyperparameters = {**job.hyperparameters, **_shown(job.hyperparameters, resolved)}
    if total:
        seconds = sum(entry.get("seconds", 0) for entry in fresh) / len(fresh)
        job.estimated_finish = now + int(seconds * (total - fresh[-1]["step"]))


def _step(entry: Entry, total: int | None) -> str:
    parts = [f"training loss={entry['loss']:.2f}" if entry.get("loss") is not None else "training loss is not finite"]
    if entry.get("validation_loss") is not None:
        parts.append(f"validation loss={entry['validation_loss']:.2f}")
    return f"Step {entry['step']}/{total or '?'}: {', '.join(parts)}"


def _resolved(run: Path) -> dict[str, Any]:
    """Some numbers of the resolved recipe."""
    training = load_recipe(str(run / "recipe.yaml")).recipe.training
    return {"steps": training.steps, "batch_size": training.batch_size, "n_epochs": training.epochs}


def _shown(asked: dict[str, Any], resolved: dict[str, Any]) -> dict[str, Any]:
    """What stands for `auto` once the run has decided it."""
    shown = {name: resolved[name] for name in ("batch_size", "n_epochs") if asked[name] == "auto" and resolved[name]}
    return {**shown, **({"learning_rate_multiplier": 1.0} if asked["learning_rate_multiplier"] == "auto" else {})}


def trouble(code: str, message: str) -> dict[str, Any]:
    """A job's error as the API shows it."""
    return {"code": code, "message": message, "param": None}


def killed(times: int) -> dict[str, Any]:
    """The error of a job whose process was killed too often."""
    return trouble(
        "out_of_memory",
        f"The training process was killed {times} times, most likely because the machine had no memory left. "
        "Use shorter examples, a smaller model, or tunesmith: {training: {micro_batch_tokens: …}}.",
    )


def code_of(said: str, code: int) -> str:
    """The code of what a command said when it ended with `code`."""
    if "disk is full" in said or "No space left" in said:
        return "disk_full"
    if "too little memory" in said:
        return "out_of_memory"
    return {2: "invalid_hyperparameters", 3: "invalid_training_file"}.get(code, "training_failed")
