"""What the runs of a study gained against what they lost, and the point to take.

The decision: a study recommends one point by a rule that fits in a sentence, says which others it cannot tell from it,
and shows all of them, so that whoever weighs gain and loss otherwise sees what to take instead. A gain that is not
beyond chance below the best counts as the best only where so many examples would have shown the loss of the whole gain;
otherwise the few examples of a small validation set would recommend whatever learned nothing.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from tunesmith.evaluation.compare import Comparison

WORTH = 0.02
"""The share of the best gain that a recommended run may lack."""


@dataclass(frozen=True, slots=True)
class Point:
    """The task's metric before and after, nats per token lost on general text with their interval, seconds, the run."""

    before: float
    value: float
    lost: float
    low: float
    high: float
    seconds: float
    run: str


@dataclass(frozen=True, slots=True)
class Advice:
    """The way to take, those whose gain counts as the best (`level`), those that nothing tells from it, and why."""

    recommended: str
    level: tuple[str, ...]
    alike: tuple[str, ...]
    because: str


@dataclass(frozen=True, slots=True)
class Study:
    """The points of a study by the name of their way, and the way to take.

    `left_out` are ways that have no point, with the reason; `sweeps` the mixtures of base and tuned that a way tried,
    as its report has them: `{shares, value, general}`, the base last.
    """

    metric: str
    higher: bool
    points: Mapping[str, Point]
    advice: Advice
    left_out: Mapping[str, str] = field(default_factory=dict)
    sweeps: Mapping[str, Sequence[Mapping[str, Any]]] = field(default_factory=dict)

    def as_dict(self) -> dict[str, Any]:
        """`{metric, recommended, level, alike, because, left_out, points: {way: …}, sweeps: {way: [{shares, …}]}}`."""
        found = asdict(self)
        return {"metric": found.pop("metric"), **found.pop("advice"), **found}


def gain(point: Point, *, higher: bool) -> float:
    """By how much the metric became better."""
    return point.value - point.before if higher else point.before - point.value


def best(points: Mapping[str, Point], *, higher: bool) -> str:
    """The way that gained most; the first of equals."""
    return max(points, key=lambda name: gain(points[name], higher=higher))


def front(points: Mapping[str, Point], *, higher: bool) -> list[str]:
    """The names of the points that no other beats in both (Pareto's front), by what they lost."""
    gains = {name: gain(point, higher=higher) for name, point in points.items()}

    def beaten(name: str) -> bool:
        return any(
            gains[other] >= gains[name]
            and points[other].lost <= points[name].lost
            and (gains[other], points[other].lost) != (gains[name], points[name].lost)
            for other in points
        )

    return sorted((name for name in points if not beaten(name)), key=lambda name: points[name].lost)


def advise(points: Mapping[str, Point], found: Mapping[str, Comparison], *, higher: bool) -> Advice:
    """The point that lost least among those that gained as much as the best; of equal ones the greater gain.

    `found` compares the best with each other way, example by example. As much is `WORTH` of the best gain less, or not
    beyond chance less where so many examples show a difference as great as the best gain four times out of five.
    """
    gains = {name: gain(point, higher=higher) for name, point in points.items()}
    first = best(points, higher=higher)
    near = [name for name in points if gains[name] >= gains[first] - WORTH * abs(gains[first])]
    unsure = [name for name, c in found.items() if c.better is None and name not in near]
    told = [name for name in unsure if (found[name].could_show or float("inf")) <= gains[first]]
    level = tuple(name for name in points if name in near or name in told)
    name = min(level, key=lambda name: (points[name].lost, -gains[name]))
    alike = tuple(other for other in level if other != name and points[other].low <= points[name].high)
    because = _because(first, near, told, [way for way in unsure if way not in told], found, alike)
    return Advice(name, level, alike, because)


def _because(
    first: str, near: Sequence[str], told: Sequence[str], few: Sequence[str],
    found: Mapping[str, Comparison], alike: Sequence[str],
) -> str:  # fmt: skip
    """The reasons in sentences."""
    said = [f"It lost least of those that gained as much as the best ({first}): at most {100 * WORTH:g} % less"]
    items = next((c.items for c in found.values()), 0)
    if told:
        shown = max(found[way].could_show or 0.0 for way in told)
        said[0] += f", or less by no more than chance ({', '.join(told)}: {items:,} examples can show {shown:.4f})"
    said[0] += "."
    if few:
        said.append(
            f"{items:,} validation examples are too few to tell {', '.join(few)} from {first}: they would not show the "
            "loss of the whole gain, so these do not count as having gained as much."
        )
    if not found and len(near) > 1:
        said.append("Whether gains differ by more than chance was not measured.")
    if alike:
        said.append(f"Not to be told from it: {', '.join(alike)} (their intervals of what was lost overlap).")
    said.append("Each way was trained once: what another seed would change stands in no interval.")
    return " ".join(said)
