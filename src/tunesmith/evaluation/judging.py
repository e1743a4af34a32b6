"""Judging free answers by another model: preferences in both orders, and guards of the judge.

The decision: a judge is only a function from conversations to texts, so any model or endpoint serves. It is not
trusted: each pair is shown in both orders, what cannot be read counts for nobody, an answer that says nothing is judged
too, and how often the longer answer wins is told. A win rate here is raw, not AlpacaEval's length-controlled one.

Zheng et al., 2023, "Judging LLM-as-a-Judge with MT-Bench and Chatbot Arena", https://arxiv.org/abs/2306.05685; the
answer that says nothing: Zheng et al., 2024, "Cheating Automatic LLM Benchmarks", https://arxiv.org/abs/2410.07137.
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from tunesmith.data.example import Message
from tunesmith.evaluation.intervals import bootstrap, wilson
from tunesmith.evaluation.metrics import Score, share

Judge = Callable[[Sequence[Sequence[Message]]], Sequence[str]]
"""What says something about each of several conversations."""
Pair = tuple[Sequence[Message], Sequence[Message]]
"""Two answers as the judge is shown them: with ours first, and with ours second."""

NOTHING = "I cannot say anything about this."
"""The answer of a model that answers nothing."""
FOOLED = 0.1
"""A judge by whom the answer that says nothing wins more often than this is warned of."""
PAIR = (
    "You compare two answers to the same request. Judge by how well each does what was asked: right, helpful, complete "
    "and no longer than it has to be. Neither the order nor the length of the answers is a merit. Say in one or two "
    "sentences what decides, then end with [[A]] if the first answer is better, [[B]] if the second is, or [[C]] if "
    "they are equally good."
)
_VERDICT = re.compile(r"\[\[([ABC])\]\]")


@dataclass(frozen=True, slots=True)
class Preferences:
    """How one side fares against the other: `points` of each pair (1 won, ½ even, 0 lost), None where neither order
    could be read; `agreed` counts the pairs on which both orders said the same. `together` pairs that follow each other
    belong to one question, and are one item of the interval."""

    points: tuple[float | None, ...]
    agreed: int
    unread: int
    together: int = 1

    @property
    def rate(self) -> Score:
        """The win rate with its 95 % interval, over the items that could be read."""
        each = [self.points[start : start + self.together] for start in range(0, len(self.points), self.together)]
        known = [[point for point in item if point is not None] for item in each]
        columns = np.array([(sum(item), len(item)) for item in known if item], dtype=np.float64)
        if not len(columns):
            return Score(0.5, 0.0, 1.0, 0)
        low, high = bootstrap(columns, share)
        return Score(float(share(columns.sum(0))), low, high, len(columns))


def verdict(text: str) -> float | None:
    """What a judge's text gives the first answer: 1, ½ or 0; None where it says nothing that can be read."""
    found = _VERDICT.findall(text)
    return {"A": 1.0, "B": 0.0, "C": 0.5}[found[-1]] if found else None


def compare_answers(
    judge: Judge, requests: Sequence[Sequence[Message]], ours: Sequence[str], theirs: Sequence[str]
) -> Preferences:
    """Our answers against theirs by a prompt of our own."""
    pairs = zip(requests, ours, theirs, strict=True)
    return preferred(judge, [(_pair(request, a, b), _pair(request, b, a)) for request, a, b in pairs])


def preferred(judge: Judge, pairs: Sequence[Pair], *, together: int = 1) -> Preferences:
    """What the judge prefers of pairs; one that is judged otherwise in each order is even, as MT-Bench has it."""
    said = judge([first for first, _ in pairs] + [second for _, second in pairs])
    first = [verdict(text) for text in said[: len(pairs)]]
    second = [None if (v := verdict(text)) is None else 1 - v for text in said[len(pairs) :]]
    points: list[float | None] = []
    for one, other in zip(first, second, strict=True):
        known = {value for value in (one, other) if value is not None}
        points.append(0.5 if len(known) == 2 else next(iter(known), None))
    agreed = sum(a is not None and a == b for a, b in zip(first, second, strict=True))
    return Preferences(tuple(points), agreed, [*first, *second].count(None), together)


def _pair(request: Sequence[Message], first: str, second: str) -> list[Message]:
    asked = "\n\n".join(f"[{message.role}]\n{message.content}" for message in request)
    text = f"[The request]\n{asked}\n\n[Answer A]\n{first}\n\n[Answer B]\n{second}"
    return [Message("system", PAIR), Message("user", text)]


def longer_wins(points: Sequence[float | None], ours: Sequence[str], theirs: Sequence[str]) -> Score:
    """How often the longer answer won, of the items with a winner: above a half, the judge may like length itself."""
    won = [
        (point > 0.5) == (len(a) > len(b))
        for point, a, b in zip(points, ours, theirs, strict=True)
        if point is not None and point != 0.5 and len(a) != len(b)
    ]
    low, high = wilson(sum(won), len(won))
    return Score(sum(won) / len(won) if won else 0.5, low, high, len(won))


def warnings(nothing: Preferences, longer: Score) -> list[str]:
    """What makes this judge doubtful, in sentences."""
    found = []
    if nothing.rate.items and nothing.rate.value > FOOLED:
        found.append(
            f"an answer that says nothing wins {nothing.rate.value:.0%} by this judge, so its verdicts mean little"
        )
    if longer.items and longer.low > 0.5:
        found.append(
            f"the longer answer wins {longer.value:.0%} [{longer.low:.0%}, {longer.high:.0%}]: mind the lengths"
        )
    return found
