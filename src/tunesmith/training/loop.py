"""fit: the whole of training, read from top to bottom.

The decision: there is no trainer and there are no callbacks. A step is: choose the examples, add up the gradient,
clip, update, write the journal; then, where due, validate, keep the best, save a checkpoint. Everything that a resumed
run needs is in `State` and in the tensors beside it; everything else is a pure function of the step.
"""

import math
import time
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import torch
from pydantic import JsonValue
from torch import Tensor, nn

from tunesmith.batches.order import derive, examples_of_step, steps_per_epoch
from tunesmith.errors import TrainingError
from tunesmith.models.allocator import keep_freed_memory
from tunesmith.models.forward import Network
from tunesmith.models.lower import StoredStates
from tunesmith.tokens.encoded import EncodedExample
from tunesmith.training import checkpoint
from tunesmith.training.anchor import Anchor
from tunesmith.training.divergence import Toward
from tunesmith.training.journal import Journal
from tunesmith.training.losses import FILE as LOSSES
from tunesmith.training.losses import ExampleLosses
from tunesmith.training.optimizer import build, load_state_tensors, set_rate, state_tensors
from tunesmith.training.saving import Saver
from tunesmith.training.schedule import learning_rate
from tunesmith.training.settings import CheckpointSettings, TrainingSettings
from tunesmith.training.step import Measured, Pass, backward, gradient_norm

CHECKPOINT_SECONDS = 300.0
"""Where no interval is set, at most so much work is lost to a crash."""


@dataclass(frozen=True, slots=True)
class State:
    """What a run remembers from step to step besides its tensors."""

    step: int = 0
    best: float | None = None
    best_step: int = 0
    worse: int = 0
    """Validations since the best one."""
    journal_length: int = 0
    journal_sha256: str | None = None
    losses_sha256: str | None = None


@dataclass(frozen=True, slots=True)
class Plan:
    """The resolved settings that the loop reads. `steps` is the number of updates in all."""

    steps: int
    seed: int
    training: TrainingSettings
    checkpoints: CheckpointSettings
    higher_is_better: bool = False


@dataclass(frozen=True, slots=True)
class Hooks:
    """What the loop asks of the outside: measurements, a place for the best weights, eyes, and whether to stop.

    `validate(step)` returns numbers by name, among them the metric that chooses the best. `save_best()` keeps the
    weights as they are now. `seen(entry)` is told each journal line. `stop()` says that somebody asked to end after
    this step. `warn` is told of damage that the run goes on in spite of, a validation without a number included.
    """

    validate: Callable[[int], Mapping[str, float]] | None
    save_best: Callable[[], None]
    seen: Callable[[Mapping[str, JsonValue]], None] = lambda entry: None
    stop: Callable[[], bool] = lambda: False
    warn: Callable[[str], object] = warnings.warn


@dataclass(frozen=True, slots=True)
class Base:
    """What of the base model a step uses: answers and weights that it is drawn towards, and states of frozen layers.

    Made while the model still is its base, before `fit` puts a checkpoint into it.
    """

    toward: Toward | None = None
    anchor: Anchor | None = None
    stored: StoredStates | None = None

    def enter(self, how: Pass, indices: Iterable[int]) -> Pass:
        """How the examples `indices` pass: from the stored states on, where there are some."""
        stored = self.stored
        if stored is None:
            return how
        known = [int(i) for i in indices]
        return replace(how, hidden=lambda batch, members: stored.hidden_rows(batch, [known[i] for i in members]))

    def draw(self, measured: Measured) -> dict[str, float]:
        """Add the pull of the base's weights to every `.grad`; what the journal tells of both ways."""
        told = {"kl": measured.kl} if self.toward is not None else {}
        return {**told, "penalty": self.anchor.pull()} if self.anchor is not None else told


NO_BASE = Base()


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a run ended: all its steps, early by patience, or asked to stop (and resumable).

    `saving` counts the seconds in which training stood still because weights were written.
    """

    state: State
    ended: str  # "done" | "patience" | "asked"
    saving: float


def fit(
    network: Network,
    trainable: Sequence[tuple[str, nn.Parameter]],
    examples: Sequence[EncodedExample],
    plan: Plan,
    hooks: Hooks,
    folder: Path,
    base: Base = NO_BASE,
) -> Outcome:
    """Train `trainable` on `examples` for `plan.steps` updates, going on from the newest checkpoint in `folder`.

    Raises:
        TrainingError: a loss or gradient is not finite; the parameters are still those before the update.
        CheckpointError: a checkpoint cannot be read or written.
    """
    settings = plan.training
    assert settings.batch_size is not None, "the recipe is not resolved"
    count, batch_size = len(examples), settings.batch_size
    per_epoch = steps_per_epoch(count, batch_size)
    optimizer = build(trainable, settings)
    dropout = any(isinstance(m, nn.Dropout) and m.p > 0 and m.training for m in network.model.modules())
    how = _pass(settings, base, dropout=dropout)
    root = folder / "checkpoints"
    kept = ExampleLosses(folder / LOSSES, count=count, batch_size=batch_size)
    with Journal(folder / "metrics.jsonl") as journal, kept as losses, Saver(root, plan.checkpoints.keep) as saver:
        state = _resume(root, trainable, optimizer, journal, hooks.warn)
        journal.cut(state.journal_length)
        losses.cut(state.step, state.losses_sha256, hooks.warn)
        keep_freed_memory()
        ended = "patience" if _out_of_patience(state, settings) else "done"
        while state.step < plan.steps and ended == "done":
            began = time.perf_counter()
            step = state.step
            indices = examples_of_step(step, count=count, batch_size=batch_size, seed=plan.seed)
            members = [examples[i] for i in indices]
            seed = derive(plan.seed, "dropout", step) >> 16 if dropout else None
            measured = backward(network, members, base.enter(how, indices), dropout_seed=seed)
            drawn = base.draw(measured)
            norm = gradient_norm([p for _, p in trainable], clip=settings.clip)
            _refuse_not_finite(step + 1, measured, norm, members)
            rate = learning_rate(settings, step, plan.steps)
            began += _update(optimizer, rate, saver)
            entry = {**_entry(step, per_epoch, measured, norm=norm, rate=rate, began=began), **drawn}
            state = replace(state, step=step + 1)
            last = state.step == plan.steps
            if hooks.validate is not None and _due(state.step, settings.validation.every, per_epoch, last=last):
                found = hooks.validate(state.step)
                entry.update(found)
                state = _chosen(state, found, plan, hooks.warn)
                saver.waited += seconds(hooks.save_best) if state.best_step == state.step else 0.0
                ended = "patience" if _out_of_patience(state, settings) else ended
            journal.append(entry)
            losses.append(measured.example_loss)
            hooks.seen(entry)
            if ended == "done" and not last and hooks.stop():
                ended = "asked"
            if ended != "done" or last or _save_due(state.step, plan, per_epoch, saver, hooks.validate is not None):
                state = _counting_on(state, journal, losses)
                saver.begin(state.step, _tensors(trainable, optimizer), asdict(state), protect={state.best_step})
    return Outcome(state, ended, saver.waited)


def _pass(settings: TrainingSettings, base: Base, *, dropout: bool) -> Pass:
    """How the examples of a step pass; drawing at random, each needs a beginning of its own."""
    assert settings.micro_batch_tokens is not None, "the recipe is not resolved"
    sharing = settings.sharing and not dropout
    return Pass(settings.micro_batch_tokens, sharing, settings.label_smoothing, settings.token_weighting, base.toward)


def _counting_on(state: State, journal: Journal, losses: ExampleLosses) -> State:
    """The state with what the files beside a checkpoint hold, now that they are on the disk."""
    state = replace(state, journal_length=journal.sync(), losses_sha256=losses.sync())
    return replace(state, journal_sha256=journal.sha256)


def _update(optimizer: torch.optim.Optimizer, rate: float, saver: Saver) -> float:
    """The update, once a checkpoint that is still on its way holds everything that it changes; seconds until it did."""
    set_rate(optimizer, rate)
    waited = seconds(saver.release)
    optimizer.step()
    optimizer.zero_grad()
    return waited


def _tensors(
    trainable: Sequence[tuple[str, nn.Parameter]], optimizer: torch.optim.Optimizer
) -> dict[str, dict[str, Tensor]]:
    """What a checkpoint holds, as it stands in memory."""
    return {"weights": {**dict(trainable)}, "optimizer": state_tensors(optimizer, trainable)}


def _entry(
    step: int, per_epoch: int, measured: Measured, *, norm: float, rate: float, began: float
) -> dict[str, JsonValue]:
    """What the journal tells of the update that followed `step` others and has just ended."""
    return {
        "step": step + 1,
        "epoch": step // per_epoch + 1,
        "loss": measured.loss,
        "accuracy": measured.accuracy,
        "learning_rate": rate,
        "grad_norm": norm,
        "tokens": measured.tokens,
        "computed_tokens": measured.computed_tokens,
        "supervised_tokens": measured.supervised_tokens,
        "seconds": round(time.perf_counter() - began, 4),
    }


def _resume(
    root: Path,
    trainable: Sequence[tuple[str, nn.Parameter]],
    optimizer: torch.optim.Optimizer,
    journal: Journal,
    warn: Callable[[str], object],
) -> State:
    """The state of the newest whole checkpoint, its tensors put back in place; a fresh one where there is none."""

    def fits(found: checkpoint.Checkpoint) -> None:
        state = State(**found.state)  # type: ignore[arg-type]
        journal.require(state.journal_length, state.journal_sha256)

    found = checkpoint.newest(root, warn, fits=fits)
    if found is None:
        return State()
    weights = found.tensors("weights")
    with torch.no_grad():
        for name, parameter in trainable:
            parameter.copy_(weights[name])
    load_state_tensors(optimizer, trainable, found.tensors("optimizer"))
    return State(**found.state)  # type: ignore[arg-type]


def _due(step: int, every: int | str, per_epoch: int, *, last: bool) -> bool:
    return last or step % (per_epoch if every == "epoch" else int(every)) == 0


def _save_due(step: int, plan: Plan, per_epoch: int, saver: Saver, validated: bool) -> bool:
    """Whether a checkpoint is due: as the recipe says, else with each validation and often enough, as time affords."""
    if plan.checkpoints.every is not None:
        return _due(step, plan.checkpoints.every, per_epoch, last=False)
    every = plan.training.validation.every if validated else "epoch"
    return saver.affords and (saver.age > CHECKPOINT_SECONDS or _due(step, every, per_epoch, last=False))


def seconds(act: Callable[[], object]) -> float:
    """How long `act` takes."""
    began = time.perf_counter()
    act()
    return time.perf_counter() - began


def _chosen(state: State, found: Mapping[str, float], plan: Plan, warn: Callable[[str], object]) -> State:
    """The state after a validation: a new best, or one more that was not better, or lost more than it may.

    What is no finite number is never better: nothing measured after it could be told from it.
    """
    value = found[plan.training.validation.metric]
    if not math.isfinite(value):
        name = plan.training.validation.metric
        warn(f"step {state.step}: {name} is {value}, so these weights are not among those that the best is chosen from")
        return replace(state, worse=state.worse + 1)
    if not found.get("retained", True):
        return replace(state, worse=state.worse + 1)
    if state.best is not None:
        gain = value - state.best if plan.higher_is_better else state.best - value
        if not gain > plan.training.validation.min_improvement:
            return replace(state, worse=state.worse + 1)
    return replace(state, best=value, best_step=state.step, worse=0)


def _out_of_patience(state: State, settings: TrainingSettings) -> bool:
    patience = settings.validation.patience
    return patience is not None and state.worse >= patience


def _refuse_not_finite(step: int, measured: Measured, norm: float, examples: Sequence[EncodedExample]) -> None:
    if math.isfinite(measured.loss) and math.isfinite(norm):
        return
    bad = [e for e, loss in zip(examples, measured.example_loss, strict=True) if not math.isfinite(loss)]
    where = ", ".join(str(e.origin) for e in (bad or examples)[:8])
    what = "loss" if not math.isfinite(measured.loss) else "gradient"
    raise TrainingError(
        f"step {step}: the {what} is not finite; the weights were not updated. Examples in it: {where}. "
        "Lower training.learning_rate, look at these examples, or resume from the last checkpoint."
    )
