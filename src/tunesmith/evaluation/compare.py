"""compare: whether one model is better than another by more than chance, from what both answered to the same items.

The decision: every difference is printed with its 95 % interval, a p value corrected for how many metrics were looked
at, and the difference that this number of items could show at all. "No difference found" and "too few items to tell"
are then never mistaken for each other.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from statistics import NormalDist
from typing import Literal

import numpy as np

from tunesmith.errors import UsageError
from tunesmith.evaluation.intervals import (
    Array,
    holm,
    mcnemar,
    paired_bootstrap,
    paired_wilson,
    sign_flip,
    smallest_difference,
)
from tunesmith.evaluation.item import Item
from tunesmith.evaluation.metrics import LIKELIHOOD, Metric, guessed, named, require

SIX = 6
"""The fewest items that differ, all in one direction, of which McNemar's p is below 0.05."""
_INTERVAL = 2 * NormalDist().inv_cdf(0.975)
"""Standard errors in the width of a 95 % interval."""
FEW = 300
"""Below so many items a bootstrap of proportions is too narrow, and Wilson's form is used."""


@dataclass(frozen=True, slots=True)
class Comparison:
    """One metric of two models. `difference` is right less left; `better` is who is ahead beyond chance, if anyone.

    `wins` and `losses` count the items that the right one scored better or worse than the left one; None where an item
    alone has no score. `p` is corrected by Holm over all that was compared; `could_show` is the true difference that so
    many items show four times out of five (never below the six items without which no p is below 0.05), None where
    nothing can be shown.
    """

    metric: str
    items: int
    left: float
    right: float
    difference: float
    low: float
    high: float
    p: float
    test: Literal["McNemar, exact", "sign flip"]
    better: Literal["left", "right"] | None
    wins: int | None
    losses: int | None
    could_show: float | None

    def as_dict(self) -> dict[str, object]:
        """All fields by name."""
        return asdict(self)


def compare(left: Sequence[Item], right: Sequence[Item], metrics: Sequence[str] = ()) -> list[Comparison]:
    """The comparison by each metric (named, or guessed from the references), of answers to the same items.

    Raises:
        UsageError: the items are not the same, or a metric is not known or cannot be computed on them.
    """
    return compare_tasks({"": (left, right)}, {"": metrics})[""][0]


def compare_tasks(
    answered: Mapping[str, Sequence[Sequence[Item]]], metrics: Mapping[str, Sequence[str]]
) -> dict[str, list[list[Comparison]]]:
    """For each task the first candidate against each of the others, by that task's metrics (guessed where none are).

    Every candidate answered every task. p is corrected for all comparisons of all tasks together.

    Raises:
        UsageError: as `compare`.
    """
    chosen = {task: _chosen(sides, metrics[task]) for task, sides in answered.items()}
    found = {
        task: [
            [_compared(metric, metric.columns(sides[0]), metric.columns(other)) for metric in chosen[task]]
            for other in sides[1:]
        ]
        for task, sides in answered.items()
    }
    corrected = iter(holm([c.p for of_task in found.values() for of_pair in of_task for c in of_pair]))
    return {
        task: [
            [_decided(c, next(corrected), metric) for c, metric in zip(of_pair, chosen[task], strict=True)]
            for of_pair in of_task
        ]
        for task, of_task in found.items()
    }


def compare_columns(metric: Metric, sides: Sequence[Array]) -> list[Comparison]:
    """The first side against each of the others, by what `metric` adds up of each item; p is corrected for all."""
    found = [_compared(metric, sides[0], other) for other in sides[1:]]
    return [_decided(c, p, metric) for c, p in zip(found, holm([c.p for c in found]), strict=True)]


def _chosen(sides: Sequence[Sequence[Item]], names: Sequence[str]) -> list[Metric]:
    for other in sides[1:]:
        require_same(sides[0], other)
    likelihood = all(item.targets > 0 for items in sides for item in items)
    chosen = named(names) if names else _guessed(sides[0], likelihood)
    for items in sides:
        require(chosen, items)
    return chosen


def _guessed(items: Sequence[Item], likelihood: bool) -> list[Metric]:
    if all(item.options for item in items):
        return named(["choice", "calibration_error"])
    found, _ = guessed([item.reference for item in items])
    return [metric for metric in found if likelihood or metric.name not in LIKELIHOOD]


def require_same(left: Sequence[Item], right: Sequence[Item]) -> None:
    """Both sides answered the same items, in the same order.

    Raises:
        UsageError: they did not.
    """
    if not left or len(left) != len(right):
        raise UsageError(f"{len(left):,} and {len(right):,} items cannot be compared in pairs. Score both on one file.")
    for place, (a, b) in enumerate(zip(left, right, strict=True)):
        if (a.prompt, a.reference) != (b.prompt, b.reference):
            raise UsageError(f"Item {place} is not the same on both sides: {a.reference[:60]!r}, {b.reference[:60]!r}.")


def _compared(metric: Metric, a: Array, b: Array) -> Comparison:
    value_a, value_b = float(metric.value(a.sum(0))), float(metric.value(b.sum(0)))
    wins = losses = None
    if metric.kind != "counts":
        change = metric.value(b) - metric.value(a)
        wins, losses = int(np.sum(change > 0)), int(np.sum(change < 0))
        if not metric.higher_is_better:
            wins, losses = losses, wins
    low, high, p = significance(metric, a, b)
    return Comparison(
        metric=metric.name,
        items=len(a),
        left=value_a,
        right=value_b,
        difference=value_b - value_a,
        low=low,
        high=high,
        p=p,
        test="McNemar, exact" if metric.kind == "proportion" else "sign flip",
        better=None,
        wins=wins,
        losses=losses,
        could_show=_could_show(metric, a, b, high - low),
    )


def significance(metric: Metric, a: Array, b: Array) -> tuple[float, float, float]:
    """The 95 % interval of the metric on columns `b` less that on `a`, and the uncorrected p; paired row by row."""
    if metric.kind != "proportion":
        return (*paired_bootstrap(a, b, metric.value), sign_flip(a, b, metric.value))
    right, left = b[:, 0] > 0, a[:, 0] > 0
    only_left, only_right = int(np.sum(left & ~right)), int(np.sum(right & ~left))
    p = mcnemar(only_left, only_right)
    if len(a) < FEW:
        counts = (int(np.sum(left & right)), only_left, only_right, int(np.sum(~left & ~right)))
        return (*paired_wilson(*counts), p)
    return (*paired_bootstrap(a, b, metric.value), p)


def _could_show(metric: Metric, a: Array, b: Array, width: float) -> float | None:
    """By the spread of the items' own differences; of metrics without them, by the `width` of the 95 % interval."""
    if metric.kind == "proportion":
        return could_show(metric.value(b) - metric.value(a))
    if metric.kind == "mean":
        shown = smallest_difference(float(np.std(metric.value(b) - metric.value(a))), len(a))
    else:
        shown = smallest_difference(width / _INTERVAL, 1)
    return shown or None


def could_show(changes: Array) -> float | None:
    """The true difference of two proportions that these items (each -1, 0 or 1) show four times out of five, never
    below the six of them without which no p is below 0.05; None where there are fewer."""
    n = len(changes)
    return max(smallest_difference(float(np.std(changes)), n), SIX / n) if n >= SIX else None


def _decided(found: Comparison, p: float, metric: Metric) -> Comparison:
    ahead = (found.difference > 0) == metric.higher_is_better
    better: Literal["left", "right"] | None = None
    if p < 0.05:
        better = "right" if ahead else "left"
    return Comparison(**{**asdict(found), "p": p, "better": better})


def table(comparisons: Sequence[Comparison], names: tuple[str, str] = ("left", "right")) -> str:
    """The comparisons as lines of text, one metric each, with what was found in words."""
    lines = [f"{'metric':<16} {names[0]:>10} {names[1]:>10}  difference [95 % interval]        p (Holm)  finding"]
    for c in comparisons:
        interval = f"{c.difference:+.4f} [{c.low:+.4f}, {c.high:+.4f}]"
        found = finding(c, names)
        lines.append(f"{c.metric:<16} {c.left:>10.4f} {c.right:>10.4f}  {interval:<32} {c.p:>8.4f}  {found}")
    return "\n".join(lines)


def finding(c: Comparison, names: tuple[str, str]) -> str:
    """Who is better, and what so many items can show, in words."""
    who = {"left": f"{names[0]} is better", "right": f"{names[1]} is better", None: "no difference beyond chance"}
    can = f" can show {c.could_show:.3f}" if c.could_show is not None else " are too few to show any"
    if c.better and c.could_show is None:  # every item changed alike
        can = ""
    return f"{who[c.better]}; {c.items:,} items{can}"
