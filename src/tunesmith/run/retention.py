"""retention: what a run has cost its model elsewhere, measured against the base that it started from.

The decision: a run measures itself, within a share of its own work. How much text that allows follows from what
training computes, never from a clock, and is written down before the first step; so a resumed run measures the same,
and nothing of it reaches a weight.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from pydantic import JsonValue

from tunesmith.batches.forest import PrefixForest
from tunesmith.batches.order import examples_of_step, steps_per_epoch
from tunesmith.batches.packing import plan
from tunesmith.errors import UsageError
from tunesmith.evaluation.retention import Retention, as_text
from tunesmith.evaluation.retention import retention as measured
from tunesmith.models.adapters import adapted
from tunesmith.models.context import context_length
from tunesmith.models.forward import Network
from tunesmith.models.load import load_model
from tunesmith.models.probe import probe
from tunesmith.models.settings import Lora
from tunesmith.models.sources import resolve
from tunesmith.recipe import load_recipe
from tunesmith.run import general
from tunesmith.run.abilities import abilities
from tunesmith.run.folder import RECIPE, is_started
from tunesmith.run.opened import Say, open_model, to_stderr
from tunesmith.run.prepare import DTYPES, Prepared, Ready
from tunesmith.tokens.encoded import EncodedExample
from tunesmith.training import durable
from tunesmith.training.step import Pass, measure

TOKENS = 20_000
"""Of general text, where a run is long enough."""
PLANNED = "retention.json"
COMPARED = 4096
"""Tokens of general text on which mixtures are compared, or losses held to a limit."""
LEAST, LEAST_ALONG, PROMPTS = 512, 256, 2_000
BOTH_MODELS, WRITING, TUNED_ALONE = 1.1, 1.6, 0.6
"""What a token costs beside a token of LoRA training: two models with their outputs, writing it, one model."""
_TRAINING = {"lora": 1.0, "full": 1.4, "frozen": 1.0}
_SAMPLED_STEPS = 16


@dataclass(frozen=True, slots=True)
class Sizes:
    """How much is measured: tokens of general text and of the task's prompts at the end, and of general text on the
    way (0 for none), at every so many validations."""

    general: int
    prompts: int
    along: int
    every: int


def sizes(work: float, validations: int, written: int | None) -> Sizes:
    """What `work` (tokens of LoRA training) affords: six parts for general text, two for prompts, two for the way.

    `written` says how much of the base model's own text there is; None where the text is a file.
    """
    part = 0.6 * work
    tokens = part / BOTH_MODELS
    if written is not None and tokens > written:
        tokens = written + (part - BOTH_MODELS * written) / (BOTH_MODELS + WRITING)
    enough = min(TOKENS, int(tokens))
    if enough < LEAST:
        return Sizes(0, min(PROMPTS, max(64, int(0.8 * work / BOTH_MODELS))), 0, 1)
    prompts, affords = min(PROMPTS, int(0.2 * work / BOTH_MODELS)), int(0.2 * work / TUNED_ALONE)
    points = min(validations + 1, affords // LEAST_ALONG)
    if points < 2:
        return Sizes(enough, prompts, 0, 1)
    return Sizes(enough, prompts, min(enough, affords // points), -(-validations // (points - 1)))


@dataclass(slots=True)
class Watch:
    """Measures a run while it goes on. `loss_before` is that of the base on the text for the way.

    What measuring cost is counted, and apart from it what it cost the base to write its text, once for all runs on it.
    """

    general: Sequence[EncodedExample]
    prompts: Sequence[EncodedExample]
    along: Sequence[EncodedExample]
    loss_before: float | None
    most_lost: float | None
    _due: Callable[[int], bool]
    _how: Pass
    _seconds: float
    _writing: float

    def at(self, network: Network, step: int) -> Mapping[str, float]:
        """The loss on general text after `step`, where it is due; `retained` (0 or 1) where there is a limit to it."""
        if not self.along or not self._due(step):
            return {}
        began = time.perf_counter()
        loss = measure(network, self.along, self._how).loss
        self._seconds += time.perf_counter() - began
        if self.most_lost is None or self.loss_before is None:
            return {"retention_loss": loss}
        return {"retention_loss": loss, "retained": float(loss - self.loss_before <= self.most_lost)}

    def now(self, network: Network) -> float | None:
        """The loss on general text, as it is compared between mixtures of base and tuned."""
        text = general.first(self.general, COMPARED) if self.general else []
        return measure(network, text, self._how).loss if text else None

    def end(self, prepared: Prepared, ready: Ready) -> dict[str, JsonValue]:
        """The tuned model against its base: `general` and `prompts`, as `Retention` writes itself, and the text."""
        began = time.perf_counter()
        tuned, base, model = ready.probe.network, None, None
        if not isinstance(prepared.recipe.method, Lora):
            loaded: Any = load_model(prepared.source.folder, dtype=DTYPES[prepared.recipe.training.dtype])
            model = loaded.to(tuned.device)
            base = probe(model, longest=prepared.sets.longest).network
        found: dict[str, JsonValue] = {"text": prepared.recipe.retention.text, "loss_before": self.loss_before}
        for name, text in (("general", self.general), ("prompts", self.prompts)):
            if text:
                found[name] = measured(tuned, base, text).as_dict()
        settings = prepared.recipe.retention
        if settings.tasks:
            found["tasks"] = abilities(ready.model, model, prepared.encoder, settings.tasks, settings.items)
        found["seconds"] = round(self._seconds + time.perf_counter() - began, 2)
        found["writing_seconds"] = round(self._writing, 2)
        return found


def watch(prepared: Prepared, ready: Ready, folder: Path, say: Say) -> Watch | None:
    """What measures this run; None where it has no validation data or retention is off.

    Called before the first step, while the model still is its base.
    """
    settings = prepared.recipe.retention
    if settings.text == "off" or not prepared.sets.validation:
        return None
    plan_file = folder / PLANNED
    before: Any = durable.read_sealed(plan_file)
    amount = Sizes(**before["sizes"]) if before else planned(prepared)
    text, wrote = _text(prepared, ready, amount.general, say)
    began = time.perf_counter()
    prompts = _prompts(prepared.sets.validation, amount.prompts)
    along = general.first(text, amount.along) if text and amount.along else []
    training = prepared.recipe.training
    how = Pass(training.micro_batch_tokens or 1, training.sharing)
    if before is None:
        loss = measure(ready.probe.network, along, how).loss if along else None
        seconds = {"seconds": time.perf_counter() - began, "writing_seconds": wrote}
        before = {"sizes": asdict(amount), "loss": loss, **seconds}
        durable.write_sealed(plan_file, before)
    say(f"retention: {_said(text, prompts, along, amount)}")
    steps, interval = training.steps or 1, _interval(prepared)

    def due(step: int) -> bool:
        return step == steps or (step // interval) % amount.every == 0

    spent = [before.get(name, 0.0) for name in ("seconds", "writing_seconds")]
    return Watch(text, prompts, along, before["loss"], prepared.recipe.keeping.most_lost, due, how, *spent)


def _text(prepared: Prepared, ready: Ready, tokens: int, say: Say) -> tuple[list[EncodedExample], float]:
    """The general text, and the seconds in which the base wrote what was missing of it."""
    began, name = time.perf_counter(), prepared.recipe.retention.text
    if not tokens:
        return [], 0.0
    if name != "auto":
        context = context_length(ready.model.config)
        return general.from_file(name, prepared.encoder, tokens=tokens, context=context), 0.0
    base = prepared.source.fingerprint
    missing = general.written(base) < tokens
    text = general.from_base(ready.model, prepared.encoder, base, tokens=tokens, say=say)
    return text, time.perf_counter() - began if missing else 0.0


def _said(text: Sequence[EncodedExample], prompts: Sequence[EncodedExample], along: Sequence[Any], n: Sizes) -> str:
    count = sum(len(example) - 1 for example in text)
    own = f"{len(prompts):,} of the task's prompts" if prompts else "no prompts"
    if not text:
        return f"measured at the end on {own} alone; the run is too short for general text (retention.share)"
    way = f", and every {n.every} validations on {n.along:,} of them" if along else ""
    return f"measured at the end on {count:,} tokens of general text and {own}{way}"


def planned(prepared: Prepared) -> Sizes:
    """How much a run will measure; what it trains and `retention.share` decide it, before the first step."""
    recipe = prepared.recipe
    validations = -(-(recipe.training.steps or 1) // _interval(prepared))
    written = general.written(prepared.source.fingerprint) if recipe.retention.text == "auto" else None
    found = sizes(recipe.retention.share * work_of(prepared), validations, written)
    if recipe.keeping.most_lost is not None:  # a limit is looked at wherever a best checkpoint is chosen
        found = replace(found, general=max(found.general, COMPARED), along=max(found.along, COMPARED), every=1)
    elif recipe.keeping.interpolate != "off":
        found = replace(found, general=max(found.general, COMPARED))
    return found


def work_of(prepared: Prepared) -> float:
    """What training computes, in tokens of LoRA training."""
    recipe = prepared.recipe
    return _tokens_of_a_step(prepared) * (recipe.training.steps or 1) * _TRAINING[recipe.method.kind]


def _interval(prepared: Prepared) -> int:
    """Steps from one validation to the next."""
    training = prepared.recipe.training
    per_epoch = steps_per_epoch(len(prepared.sets.train), training.batch_size or 1)
    return per_epoch if training.validation.every == "epoch" else training.validation.every


def _tokens_of_a_step(prepared: Prepared) -> float:
    """Computed tokens of a step, the mean of the first ones."""
    recipe, train = prepared.recipe, prepared.sets.train
    size, budget = recipe.training.batch_size or 1, recipe.training.micro_batch_tokens or 1
    sampled = range(min(_SAMPLED_STEPS, steps_per_epoch(len(train), size)))
    total = 0
    for step in sampled:
        members = [train[i] for i in examples_of_step(step, count=len(train), batch_size=size, seed=recipe.seed)]
        parts = plan(members, budget=budget, sharing=recipe.training.sharing)
        total += sum(PrefixForest([members[i] for i in part], sharing=recipe.training.sharing).tokens for part in parts)
    return total / len(sampled)


def _prompts(examples: Sequence[EncodedExample], tokens: int) -> list[EncodedExample]:
    """The prompts of the first examples, as many as cost so many tokens when their common beginning counts once."""
    found: list[EncodedExample] = []
    used = 0
    for example in examples:
        learned = int((example.weights > 0).argmax())
        if learned < 2:
            continue
        prompt = as_text(example.ids[:learned].tolist())
        used += PrefixForest([*found[:1], prompt]).tokens - (len(found[0].needed) if found else 0)
        if found and used > tokens:
            break
        found.append(prompt)
    return found


def retention(run: str, *, text: str | None = None, tokens: int = TOKENS, say: Say = to_stderr) -> Retention:
    """Loss and KL against the base on at least `tokens` tokens of general text (the file `text`, or the base's own).

    Raises:
        UsageError: `run` is no run folder, so nothing says what its base was.
        DataError: the text holds no passage.
    """
    if not is_started(Path(run)):
        raise UsageError(f"{run}: this is no run folder, so nothing says which model it started from.")
    recipe = load_recipe(str(Path(run) / RECIPE)).recipe
    source = resolve(recipe.model, revision=recipe.revision)
    tuned = open_model(run, say=say)
    with_adapter = bool(adapted(tuned.model))
    base = None if with_adapter and text is not None else open_model(str(source.folder), say=say)
    if text is not None:
        words = general.from_file(text, tuned.encoder, tokens=tokens, context=context_length(tuned.model.config))
    else:
        assert base is not None
        words = general.from_base(base.model, base.encoder, source.fingerprint, tokens=tokens, say=say)
    longest = max(len(example) for example in words)
    other = None if with_adapter or base is None else base.network(longest)
    return measured(tuned.network(longest), other, words)
