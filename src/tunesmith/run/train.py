"""The verb `train`: a recipe in, a run folder out; and `resume`, which goes on with one.

The decision: there is one way through training. A resumed run prepares everything anew from its own recipe, proves that
it still is the same run, and enters the same loop, which goes on from the newest checkpoint.
"""

import json
import resource
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from pydantic import JsonValue
from safetensors import SafetensorError

from tunesmith.errors import CheckpointError, Interrupted, TrainingError, UsageError
from tunesmith.models.adapters import save_adapter
from tunesmith.models.cache import flush
from tunesmith.models.save import copy_beside, write_model
from tunesmith.models.settings import Lora
from tunesmith.recipe import Loaded, load_recipe
from tunesmith.recipe.writing import dump
from tunesmith.run import folder as places
from tunesmith.run.prepare import Prepared, Ready, Say, make_ready, prepare
from tunesmith.run.stopping import stop_requests
from tunesmith.training import curves, durable
from tunesmith.training.checkpoint import lock
from tunesmith.training.journal import read as read_journal
from tunesmith.training.loop import Hooks, Outcome, Plan, fit
from tunesmith.training.progress import Progress
from tunesmith.training.schedule import learning_rate
from tunesmith.training.settings import TrainingSettings
from tunesmith.training.step import Pass, measure

IDENTITY = "identity.json"
LENGTHS = ("training.epochs", "training.steps")
"""The settings that a continued run may raise."""


@dataclass(frozen=True, slots=True)
class RunResult:
    """A finished run: its folder and its report, as written in report.json."""

    folder: Path
    report: Mapping[str, Any]


def train(loaded: Loaded, *, resume: Literal["never", "auto"] = "never", say: Say | None = None) -> RunResult:
    """Train as the recipe says. `resume="auto"` goes on with the run folder when one is there, else starts.

    Raises:
        TunesmithError: something the user can mend; see the tree in `errors`.
        Interrupted: somebody asked to stop; the run can be resumed.
    """
    recipe = loaded.recipe
    if resume == "auto":
        if recipe.run is None:
            raise UsageError("--resume auto needs a run folder that is the same every time. Name one: run=runs/NAME")
        if places.is_started(Path(recipe.run)):
            return _go_on(Path(recipe.run), (), (), say)
    folder = places.new_folder(recipe)
    talk = _Talk(say)
    prepared = prepare(loaded, talk)
    ready = make_ready(prepared, talk)
    with lock(folder):
        durable.write_json(folder / IDENTITY, dict(_identity(prepared)))
        durable.write_text(folder / places.RECIPE, _recipe_text(prepared, folder))
        return _train(prepared, ready, folder, talk)


def resume(
    folder: Path, accept: Sequence[str] = (), *, longer: Sequence[str] = (), say: Say | None = None
) -> RunResult:
    """Go on with a run from its newest checkpoint; a finished one is only reported.

    Raises:
        CheckpointError: it no longer is the same run (the message lists what changed; `accept` names what may differ),
            or no checkpoint of it is whole.
        UsageError: `longer` (`training.steps=…`, `training.epochs=…`) asks for something else or for less.
    """
    return _go_on(folder, accept, longer, say)


def _go_on(folder: Path, accept: Sequence[str], longer: Sequence[str], say: Say | None) -> RunResult:
    if not places.is_started(folder):
        raise UsageError(f"{folder}: there is no run in this folder. Start one: `tunesmith train RECIPE run={folder}`.")
    with lock(folder):
        places.heal(folder)
        talk = _Talk(say)
        before = load_recipe(str(folder / places.RECIPE))
        prepared = prepare(_lengthened(before, folder, longer), talk)
        _prove_same(folder, prepared, frozenset(accept))
        if longer:
            talk(_change_of_schedule(before.recipe.training, prepared.recipe.training))
            durable.write_text(folder / places.RECIPE, _recipe_text(prepared, folder))
        return _train(prepared, make_ready(prepared, talk), folder, talk)


def _lengthened(before: Loaded, folder: Path, longer: Sequence[str]) -> Loaded:
    """The run's recipe with more epochs or steps; anything else would make it another run."""
    other = [change for change in longer if change.partition("=")[0] not in LENGTHS]
    if other:
        raise UsageError(
            f"{other[0]}: a run that is continued keeps its settings; only {' and '.join(LENGTHS)} may grow. "
            f"For another setting start a new run."
        )
    if not longer:
        return before
    # Epochs count only where no steps are said, and the resolved recipe says them.
    cleared = [] if any(change.startswith("training.steps=") for change in longer) else ["training.steps=null"]
    after = load_recipe(str(folder / places.RECIPE), [*cleared, *longer])
    steps = after.recipe.training.steps
    if steps is not None and steps < (before.recipe.training.steps or 0):
        raise UsageError(
            f"training.steps={steps}: the run has {before.recipe.training.steps} already; it can only grow."
        )
    return after


def _change_of_schedule(before: TrainingSettings, after: TrainingSettings) -> str:
    """What a longer run does to the learning rate, in a sentence."""
    old, new = before.steps or 0, after.steps or 0
    last = old - 1
    was, becomes = (learning_rate(settings, last, total) for settings, total in ((before, old), (after, new)))
    return (
        f"{new} steps instead of {old}: from here the learning rate follows the longer schedule; "
        f"at step {old} that is {becomes:.2e}, where it was {was:.2e}."
    )


def _train(prepared: Prepared, ready: Ready, folder: Path, talk: "_Talk") -> RunResult:
    began = time.perf_counter()
    recipe, sets = prepared.recipe, prepared.sets
    settings = recipe.training
    assert settings.steps is not None
    assert settings.micro_batch_tokens is not None
    how = Pass(settings.micro_batch_tokens, settings.sharing)
    baseline = _baseline(folder, ready, prepared, how)
    talk.write_to(folder / places.LOG)
    with Progress(settings.steps, folder / places.LOG) as progress:
        if baseline is not None:
            progress.say(f"validation loss before training: {baseline:.4f}")
        progress.say(f"run: {folder}")

        def validate(step: int) -> Mapping[str, float]:
            found = measure(ready.probe.network, sets.validation, how)
            return {"validation_loss": found.loss, "validation_accuracy": found.accuracy}

        with stop_requests(progress.say) as stop:
            hooks = Hooks(
                validate=validate if sets.validation else None,
                save_best=lambda: _save_weights(ready, prepared, folder / places.BEST),
                seen=progress.step,
                stop=stop,
            )
            higher = settings.validation.metric == "validation_accuracy"
            plan = Plan(settings.steps, recipe.seed, settings, recipe.checkpoints, higher)
            outcome = fit(ready.probe.network, ready.applied.trainable, sets.train, plan, hooks, folder)
        if outcome.ended == "asked":
            raise Interrupted(
                f"stopped after step {outcome.state.step} of {settings.steps}, saved. "
                f"Go on with: tunesmith train --resume {folder}"
            )
        _save_weights(ready, prepared, folder / places.FINAL)
        report = _report(prepared, ready, outcome, folder, baseline, time.perf_counter() - began)
        durable.write_json(folder / places.REPORT, report)
        journal = read_journal(folder / places.METRICS)
        curves.picture(journal, folder / "loss.png")
        if sys.stderr.isatty():
            progress.say(curves.drawing(journal))
        progress.say(_closing(outcome, report, folder))
    return RunResult(folder, report)


class _Talk:
    """Says things before the run has a log, and remembers them for it."""

    def __init__(self, say: Say | None) -> None:
        self._early: list[str] = []
        self._say: Callable[[str], object] = say or _to_stderr

    def __call__(self, text: str) -> None:
        self._early.append(text)
        self._say(text)

    def write_to(self, log: Path) -> None:
        """What was said so far stands at the end of the log."""
        with log.open("a", encoding="utf-8") as file:
            file.writelines(line + "\n" for line in self._early)


def _to_stderr(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def _baseline(folder: Path, ready: Ready, prepared: Prepared, how: Pass) -> float | None:
    """The validation loss before the first step; of a resumed run, what it was."""
    if not prepared.sets.validation:
        return None
    stored = folder / "baseline.json"
    if stored.exists():
        return float(json.loads(stored.read_text())["validation_loss"])
    loss = measure(ready.probe.network, prepared.sets.validation, how).loss
    durable.write_json(stored, {"validation_loss": loss})
    return loss


def _save_weights(ready: Ready, prepared: Prepared, target: Path) -> None:
    """The weights as they are now, with tokenizer and chat template, in the form that transformers and PEFT load."""
    method = prepared.recipe.method

    def write(fresh: Path) -> None:
        fresh.mkdir()
        if isinstance(method, Lora):
            save_adapter(ready.model, fresh, method, prepared.source)
            copy_beside(prepared.source.folder, fresh)
        else:
            write_model(ready.model, fresh, source_folder=prepared.source.folder)
        (fresh / "chat_template.jinja").write_text(prepared.encoder.template.source, encoding="utf-8")
        flush(fresh)

    try:
        places.replace_folder(target, write)
    except (OSError, SafetensorError) as error:
        cause = durable.cause(error) if isinstance(error, OSError) else f"{error}. Free some space"
        raise TrainingError(
            f"{target}: the weights cannot be written: {cause}, then: tunesmith train --resume {target.parent}"
        ) from error


def _identity(prepared: Prepared) -> dict[str, str]:
    """What must be the same for a resumed run to give the same numbers."""
    model = {"model": prepared.source.fingerprint, "tokenizer and template": prepared.encoder.fingerprint}
    return {**prepared.sets.sha256, **model, **places.versions()}


def _prove_same(folder: Path, prepared: Prepared, accept: frozenset[str]) -> None:
    then = json.loads((folder / IDENTITY).read_text(encoding="utf-8"))
    changed = places.differences(then, _identity(prepared), accept)
    if changed:
        lines = "".join(f"\n  {line}" for line in changed)
        names = " ".join(f"--accept '{line.partition(':')[0]}'" for line in changed)
        raise CheckpointError(
            f"{folder}: this is no longer the run that was interrupted:{lines}\n"
            f"Put it back as it was, start a new run, or go on all the same: {names}"
        )


def _recipe_text(prepared: Prepared, folder: Path) -> str:
    header = ["The resolved recipe of this run. Versions and fingerprints when it began:"]
    header += [f"  {name}: {value}" for name, value in _identity(prepared).items()]
    comments = {name: str(origin) for name, origin in prepared.loaded.origins.items()}
    return dump(prepared.recipe, comments, header=header, folder=folder)


def _report(
    prepared: Prepared, ready: Ready, outcome: Outcome, folder: Path, baseline: float | None, seconds: float
) -> dict[str, JsonValue]:
    journal = read_journal(folder / places.METRICS)
    sets, state = prepared.sets, outcome.state
    timed: float = sum(float(e["seconds"]) for e in journal)
    tokens = sum(int(e["tokens"]) for e in journal)
    return {
        "run": str(folder),
        "model": {"name": prepared.source.name, "fingerprint": prepared.source.fingerprint},
        "method": prepared.recipe.method.model_dump(mode="json"),
        "parameters": {"total": ready.applied.total_parameters, "trained": ready.applied.trainable_parameters},
        "data": {
            "format": sets.format,
            "read": sets.read,
            "dropped": dict(sets.dropped),
            "train": len(sets.train),
            "validation": len(sets.validation),
            "test": len(sets.test),
            "findings": dict(sets.findings),
        },
        "ended": outcome.ended,
        "steps": state.step,
        "best_step": state.best_step if sets.validation else None,
        "validation_loss": {"before": baseline, "best": _best(prepared, journal, state.best_step)},
        "tokens": tokens,
        "computed_tokens": sum(int(e["computed_tokens"]) for e in journal),
        "training_seconds": round(timed, 2),
        "tokens_per_second": round(tokens / timed, 1) if timed else None,
        "seconds": round(seconds, 2),
        "peak_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
        "probe": ready.probe.reason,
        "forest": ready.probe.network.forest,
        "device": "cuda" if torch.cuda.is_available() else "cpu",
        "versions": dict(places.versions()),
    }


def _best(prepared: Prepared, journal: Sequence[Mapping[str, Any]], step: int) -> float | None:
    if not prepared.sets.validation:
        return None
    return next((float(e["validation_loss"]) for e in journal if e["step"] == step), None)


def _closing(outcome: Outcome, report: Mapping[str, Any], folder: Path) -> str:
    lines = [f"{report['steps']} steps done" + (" (stopped early)" if outcome.ended == "patience" else "")]
    loss = report["validation_loss"]
    if loss["best"] is not None:
        lines.append(f"validation loss {loss['before']:.4f} before, {loss['best']:.4f} at step {report['best_step']}")
        if loss["best"] >= loss["before"]:
            lines.append("warning: the model is no better on the validation data than before; lower the learning rate.")
    lines.append(f"{report['tokens']:,} tokens in the data, {report['computed_tokens']:,} computed")
    lines.append(f"go on: tunesmith chat {folder}")
    return "\n".join(lines)
