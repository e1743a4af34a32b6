"""What a run gained: the base and the chosen model on the same held-out examples, in pairs.

The decision: what is reported is measured on data that nothing was chosen by: the test set, read before the first step
and once more when training has ended. How much of it follows from the set and from what training computes, never from a
clock; so a resumed run reports the same. Without a test set the answers to the validation questions are compared, and
it is said that the model was chosen on them.
"""

import hashlib
import math
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import JsonValue

from tunesmith.batches.forest import shared_length
from tunesmith.batches.order import permutation
from tunesmith.evaluation.compare import significance
from tunesmith.evaluation.intervals import Array, bootstrap, holm, wilson
from tunesmith.evaluation.item import Item
from tunesmith.evaluation.metrics import Metric, Score
from tunesmith.run.opened import Say
from tunesmith.run.prepare import TASK, Prepared, Ready
from tunesmith.run.retention import TUNED_ALONE, work_of
from tunesmith.run.validating import Validation
from tunesmith.training import durable

SHARE = 0.05
"""Most of the training's own work that measuring the loss of both models may cost."""
LEAST, FEWEST, MOST = 1_000, 8, 2_000
"""Tokens and examples that are read of the test set however short the run is; the most examples however long it is."""
KEPT = "gains.json"
"""What the base did, kept until the run ends."""


@dataclass(frozen=True, slots=True)
class _Side:
    """What one model did: the loss and accuracy of each example, and its answers (text, finished, nats or None)."""

    loss: Sequence[float]
    accuracy: Sequence[float]
    answers: Sequence[tuple[str, bool, float | None]]

    @classmethod
    def of(cls, numbers: Validation, *, tokens: bool) -> "_Side":
        measured = numbers.measured if tokens else None
        answers = [(i.answer, i.finished, i.nats if math.isfinite(i.nats) else None) for i in numbers.items]
        return cls(*((measured.example_loss, measured.example_accuracy) if measured else ((), ())), answers)

    def items(self, like: Sequence[Item]) -> list[Item]:
        """The answers as items of the same questions as `like`."""
        return [
            replace(item, answer=answer, finished=finished, nats=math.nan if nats is None else nats)
            for item, (answer, finished, nats) in zip(like, self.answers, strict=True)
        ]


@dataclass(slots=True)
class Gains:
    """Both models on the examples of `numbers`, which are the test set's, or the validation set's for want of one."""

    on: str
    about: dict[str, JsonValue]
    numbers: Validation
    before: _Side
    seconds: float

    def end(self) -> dict[str, JsonValue]:
        """The chosen model beside its base: what was read, and for each number both values and their difference.

        `{on, of, examples, tokens, questions, seconds, numbers: {name: {before, after, difference, low, high, p,
        better}}}`; p is corrected for the numbers together (Holm). A number that cannot be told of a side is left
        out, and so is what rests on a single item, of which no interval can be told.
        """
        began = time.perf_counter()
        test = self.on == "test"
        if test:
            self.numbers()
        after = _Side.of(self.numbers, tokens=test)
        pairs = {**self._tokens(after), **self._task()}
        found = {name: _paired(metric, a, b) for name, (metric, a, b) in pairs.items()}
        whole = {name: pair for name, pair in found.items() if _told(pair)}
        for pair, p in zip(whole.values(), holm([pair["p"] for pair in whole.values()]), strict=True):
            ahead = (pair["difference"] > 0) == pair.pop("higher_is_better")
            pair |= {"p": p, "better": None if p >= 0.05 else "tuned" if ahead else "base"}
        seconds = round(self.seconds + time.perf_counter() - began, 2)
        return {"on": self.on, **self.about, "seconds": seconds, "numbers": whole}  # type: ignore[dict-item]

    def _tokens(self, after: _Side) -> dict[str, tuple[Metric, Array, Array]]:
        """Loss and accuracy of tokens as metrics, with their columns for the base and for the chosen model."""
        if not after.loss:
            return {}
        weight = np.array([example.target_weight for example in self.numbers.examples])

        def columns(values: Sequence[float]) -> Array:
            return np.stack([np.array(values) * weight, weight], axis=1)

        loss = Metric("test_loss", 1, "nats per target", _none, kind="ratio", higher_is_better=False)
        accuracy = Metric("test_accuracy", 1, "share of targets that are the likeliest", _none, kind="ratio")
        return {
            loss.name: (loss, columns(self.before.loss), columns(after.loss)),
            accuracy.name: (accuracy, columns(self.before.accuracy), columns(after.accuracy)),
        }

    def _task(self) -> dict[str, tuple[Metric, Array, Array]]:
        """The task's metrics with their columns."""
        items = self.numbers.items
        base = self.before.items(items)
        return {TASK + m.name: (m, m.columns(base), m.columns(items)) for m in self.numbers.metrics if items}


def gains(prepared: Prepared, ready: Ready, folder: Path, numbers: Validation | None, say: Say) -> Gains | None:
    """What tells of this run's gain; None where there is neither a test set nor a question that is asked in validation.

    Called before the first step, while the model still is its base. What the base did is kept in `folder`.
    """
    began = time.perf_counter()
    test = prepared.sets.test
    if test:
        read, asked = _drawn(prepared, ready)
        numbers = Validation(prepared, ready, [test[i] for i in read], [test[i] for i in asked])
    if numbers is None or not (test or numbers.asks):
        return None
    about = _about(prepared, numbers)
    if test:
        say(_said(about))
    mark = _mark(numbers)
    kept: Any = durable.read_sealed(folder / KEPT)
    if kept is None or kept["of"] != mark:
        if test or not numbers.items:
            numbers()
        side = _Side.of(numbers, tokens=bool(test))
        kept = {
            "of": mark, "loss": [*side.loss], "accuracy": [*side.accuracy], "answers": [[*a] for a in side.answers],
            "seconds": time.perf_counter() - began,
        }  # fmt: skip
        durable.write_sealed(folder / KEPT, kept)
    before = _Side(kept["loss"], kept["accuracy"], [tuple(answer) for answer in kept["answers"]])
    return Gains("test" if test else "validation", about, numbers, before, kept["seconds"])


def _drawn(prepared: Prepared, ready: Ready) -> tuple[list[int], list[int]]:
    """Places in the test set, in its order: of what is read for the loss, and of what may be asked.

    Both are the beginning of one fixed order, the same for every seed, because a file may be sorted by label. Read are
    as many as cost what is allowed when what they begin with in common counts once.
    """
    training, test = prepared.recipe.training, prepared.sets.test
    allowed = max(LEAST, SHARE * work_of(prepared) / (2 * TUNED_ALONE))
    sharing = training.sharing and ready.probe.network.forest
    order = [int(place) for place in permutation(0, 0, len(test))]
    read, first = order[:1], test[order[0]]
    used = len(first.needed)
    for place in order[1:MOST]:
        one = test[place]
        used += len(one.needed) - (shared_length(first.needed, one.needed) if sharing else 0)
        if used > allowed and len(read) >= FEWEST:
            break
        read.append(place)
    return sorted(read), sorted(order[: training.validation.answers])


def _about(prepared: Prepared, numbers: Validation) -> dict[str, JsonValue]:
    """What is read, in numbers."""
    sets = prepared.sets
    if not sets.test:
        return {"of": len(sets.validation), "examples": 0, "tokens": 0, "questions": len(numbers.questions)}
    tokens = sum(len(example) for example in numbers.examples)
    return {
        "of": len(sets.test), "examples": len(numbers.examples), "tokens": tokens, "questions": len(numbers.questions),
    }  # fmt: skip


def _said(about: dict[str, JsonValue]) -> str:
    every = "all" if about["examples"] == about["of"] else f"{about['examples']:,} of"
    asked = f", answers to {about['questions']:,}" if about["questions"] else ""
    return f"test: before training and after, loss on {every} {about['of']:,} test examples{asked}"


def _mark(numbers: Validation) -> str:
    """What was read and asked, as a sum."""
    found = hashlib.sha256(repr([(q.prompt_ids, q.reference) for q in numbers.questions]).encode())
    for example in numbers.examples:
        found.update(example.ids.tobytes() + example.weights.tobytes())
    return found.hexdigest()


def _paired(metric: Metric, a: Array, b: Array) -> dict[str, Any]:
    """Both values with their intervals, and the difference of the second with its own."""
    before, after = _score(metric, a), _score(metric, b)
    low, high, p = significance(metric, a, b)
    return {
        "before": before.as_dict(), "after": after.as_dict(), "difference": after.value - before.value,
        "low": low, "high": high, "p": p, "higher_is_better": metric.higher_is_better,
    }  # fmt: skip


def _score(metric: Metric, columns: Array) -> Score:
    """As `metrics.score`, of columns that are there already: some metrics run programs to make them."""
    one = metric.kind == "proportion"
    interval = wilson(round(columns[:, 0].sum()), len(columns)) if one else bootstrap(columns, metric.value)
    return Score(float(metric.value(columns.sum(0))), *interval, len(columns))


def _told(pair: dict[str, Any]) -> bool:
    """Whether every number of a pair is one, and there are items to tell its interval from."""
    numbers = [*pair["before"].values(), *pair["after"].values(), *(pair[n] for n in ("difference", "low", "high"))]
    return pair["after"]["items"] > 1 and all(math.isfinite(number) for number in numbers)


def _none(items: Sequence[Item]) -> Array:
    raise NotImplementedError("loss and accuracy of tokens are measured in a pass, not from items")
