"""The verb `train`: a recipe in, a run folder out; and `resume`, which goes on with one.

The decision: there is one way through training. A resumed run prepares everything anew from its own recipe, proves that
it still is the same run, and enters the same loop, which goes on from the newest checkpoint.
"""

import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, Literal

from safetensors import SafetensorError

from tunesmith import disk
from tunesmith.errors import Interrupted, TrainingError, UsageError
from tunesmith.models.adapters import restore_adapter, save_adapter
from tunesmith.models.cache import flush
from tunesmith.models.load import load_model
from tunesmith.models.save import copy_beside, write_model
from tunesmith.models.settings import Lora
from tunesmith.recipe import Loaded, load_recipe
from tunesmith.recipe.writing import dump
from tunesmith.run import ending
from tunesmith.run import folder as places
from tunesmith.run.card import write_pages
from tunesmith.run.continuing import (
    CHANGEABLE,
    asked_for,
    changed,
    consequences,
    identity,
    prove_asked_the_same,
    prove_same,
    record,
)
from tunesmith.run.frozen import stored_states
from tunesmith.run.keeping import base_of
from tunesmith.run.measuring import Measures
from tunesmith.run.prepare import DTYPES, Prepared, Ready, Say, make_ready, prepare
from tunesmith.run.quicktest import prove
from tunesmith.run.report import closing
from tunesmith.run.stopping import stop_requests
from tunesmith.run.suspects import keep_origins
from tunesmith.run.validating import higher_is_better
from tunesmith.training import curves, durable
from tunesmith.training.checkpoint import lock
from tunesmith.training.journal import read as read_journal
from tunesmith.training.loop import Hooks, Outcome, Plan, fit, seconds
from tunesmith.training.progress import Progress


@dataclass(frozen=True, slots=True)
class RunResult:
    """A finished run: its folder and its report, as written in report.json."""

    folder: Path
    report: Mapping[str, Any]


def train(
    loaded: Loaded,
    *,
    resume: Literal["never", "auto"] = "never",
    accept: Sequence[str] = (),
    say: Say | None = None,
) -> RunResult:
    """Train as the recipe says. `resume="auto"` goes on with the run folder when one is there, else starts.

    Raises:
        CheckpointError: the run that is there is not the one that is asked for; `accept` names what may differ.
        TunesmithError: something the user can mend; see the tree in `errors`.
        Interrupted: somebody asked to stop; the run can be resumed.
    """
    recipe = loaded.recipe
    if resume == "auto":
        if recipe.run is None:
            raise UsageError("--resume auto needs a run folder that is the same every time. Name one: run=runs/NAME")
        if places.is_started(Path(recipe.run)):
            prove_asked_the_same(Path(recipe.run), loaded, accept)
            return _go_on(Path(recipe.run), accept, (), say)
    folder = places.new_folder(recipe)
    talk = _Talk(say)
    prepared = prepare(loaded, talk)
    ready = make_ready(prepared, talk)
    prove(prepared, ready, talk)
    with lock(folder):
        places.require_new(folder)  # another process may have trained here while this one prepared
        durable.write_json(folder / places.IDENTITY, record(prepared, asked_for(loaded)))
        durable.write_text(folder / places.RECIPE, _recipe_text(prepared, folder))
        return _train(prepared, ready, folder, talk)


def resume(
    folder: Path, accept: Sequence[str] = (), *, longer: Sequence[str] = (), say: Say | None = None
) -> RunResult:
    """Go on with a run from its newest checkpoint; of a finished one, the report that it wrote.

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
        if (folder / places.BEST).is_dir():
            places.require_whole(folder / places.BEST)  # or it is found out when the last step is done
        talk = _Talk(say)
        before = load_recipe(str(folder / places.RECIPE))
        ended = ending.diagnosis(folder, before.recipe.training.micro_batch_tokens)
        if ended is not None:
            talk(ended)
        prepared = prepare(changed(before, folder, longer), talk)
        now = prove_same(folder, prepared, {*accept, *(CHANGEABLE if longer else ())})
        if not longer and (found := places.finished(folder)) is not None:
            talk(
                f"{folder} is finished, after {found['steps']} steps; training.steps or training.epochs makes it longer"
            )
            return RunResult(folder, found)
        if longer:
            (folder / places.REPORT).unlink(missing_ok=True)
            for sentence in consequences(before.recipe.training, prepared.recipe.training):
                talk(sentence)
            durable.write_text(folder / places.RECIPE, _recipe_text(prepared, folder))
        if longer or accept:
            durable.write_json(folder / places.IDENTITY, now)
        ready = make_ready(prepared, talk)
        prove(prepared, ready, talk)
        return _train(prepared, ready, folder, talk)


def _train(prepared: Prepared, ready: Ready, folder: Path, talk: "_Talk") -> RunResult:
    """Every step that is left; a disk that refuses, or too little memory, is told in a sentence wherever it happens."""
    try:
        return _trained(prepared, ready, folder, talk)
    except BrokenPipeError:
        raise
    except OSError as error:
        raise TrainingError(
            f"{error.filename or folder}: cannot be written: {disk.cause(error)}, then: "
            f"tunesmith train --resume {folder}"
        ) from error
    except (MemoryError, RuntimeError) as error:
        if "deterministic" in str(error) and prepared.recipe.training.deterministic:
            raise TrainingError(f"training.deterministic: {error} Leave it out to train all the same.") from error
        if not ending.out_of_memory(error):
            raise
        smaller = ending.halved(prepared.recipe.training.micro_batch_tokens)
        raise TrainingError(
            f"{folder}: there is too little memory for a step. Go on with smaller micro-batches: "
            f"tunesmith train --resume {folder} {smaller}"
        ) from error


def _trained(prepared: Prepared, ready: Ready, folder: Path, talk: "_Talk") -> RunResult:
    recipe, sets = prepared.recipe, prepared.sets
    settings, save = recipe.training, partial(_save_weights, ready, prepared)
    assert settings.steps is not None
    measures = Measures.begin(prepared, ready, folder, talk)
    base = replace(base_of(prepared, ready, talk), stored=stored_states(prepared, ready, talk))
    talk.write_to(folder / places.LOG)
    with Progress(settings.steps, folder / places.LOG) as progress:
        if measures.baseline is not None:
            said = ", ".join(f"{name} {value:.4f}" for name, value in measures.baseline.items())
            progress.say(f"before training: {said}")
        progress.say(f"run: {folder}")
        keep_origins(folder, sets.train)
        with stop_requests(progress.say) as stop, ending.marked(folder):
            hooks = Hooks(
                validate=measures.validate if sets.validation else None,
                save_best=partial(save, folder / places.BEST),
                seen=progress.step,
                stop=stop,
                warn=lambda text: progress.say(f"warning: {text}"),
            )
            higher = higher_is_better(settings.validation.metric)
            plan = Plan(settings.steps, recipe.seed, settings, recipe.checkpoints, higher)
            outcome = fit(ready.probe.network, ready.applied.trainable, sets.train, plan, hooks, folder, base)
        if outcome.ended == "asked":
            raise Interrupted(
                f"stopped after step {outcome.state.step} of {settings.steps}, saved. "
                f"Go on with: tunesmith train --resume {folder}"
            )
        outcome = replace(outcome, saving=outcome.saving + seconds(partial(save, folder / places.FINAL)))
        if outcome.state.best_step not in (0, outcome.state.step):
            _restore(ready.model, prepared, folder / places.BEST)
        choice = measures.mixed()
        if choice is not None:
            save(folder / places.KEPT)
        found = measures.end(outcome, choice)
        progress.say(_written(found, outcome, folder))
        if sys.stderr.isatty():
            progress.say(curves.drawing(read_journal(folder / places.METRICS)))
    return RunResult(folder, found)


def _written(found: dict[str, Any], outcome: Outcome, folder: Path) -> str:
    """Everything that is told of a run that has ended is on the disk; returns what is said."""
    curves.picture(read_journal(folder / places.METRICS), folder / "loss.png")
    write_pages(folder, found)
    durable.write_json(folder / places.REPORT, found)  # last: it says that the run is finished
    return closing(outcome, found, folder)


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
        places.seal(fresh)
        flush(fresh)

    try:
        places.replace_folder(target, write)
    except (OSError, SafetensorError) as error:
        raise TrainingError(
            f"{target}: the weights cannot be written: {disk.cause(error)}, then: "
            f"tunesmith train --resume {target.parent}"
        ) from error


def _restore(model: Any, prepared: Prepared, folder: Path) -> None:
    """The model in memory has the weights that stand in `folder`."""
    if isinstance(prepared.recipe.method, Lora):
        restore_adapter(model, folder)
    else:
        model.load_state_dict(load_model(folder, dtype=DTYPES[prepared.recipe.training.dtype]).state_dict())


def _recipe_text(prepared: Prepared, folder: Path) -> str:
    header = ["The resolved recipe of this run. Versions and fingerprints when it began:"]
    header += [f"  {name}: {value}" for name, value in identity(prepared).items()]
    comments = {name: str(origin) for name, origin in prepared.loaded.origins.items()}
    return dump(prepared.recipe, comments, header=header, folder=folder)
