"""Judging free answers by another model: preferences in both orders, marks from 1 to 10, and guards of the judge.

The decision: a judge is only a function from conversations to texts, so any model or endpoint serves. It is not
trusted: each pair is shown in both orders, what cannot be read counts for nobody, an answer that says nothing is judged
too, and how often the longer answer wins is told. A win rate here is raw, not AlpacaEval's length-controlled one.

Zheng et al., 2023, "Judging LLM-as-a-Judge with MT-Bench and Chatbot Arena", https://arxiv.org/abs/2306.05685; the
answer that says nothing: Zheng et al., 2024, "Cheating Automatic LLM Benchmarks", https://arxiv.org/abs/2410.07137.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from tunesmith.data.example import Message
from tunesmith.evaluation.intervals import Array, bootstrap, wilson
from tunesmith.evaluation.metrics import Score, share

Judge = Callable[[Sequence[Sequence[Message]]], Sequence[str]]
"""What says something about each of several conversations."""

NOTHING = "I cannot say anything about this."
"""The answer of a model that answers nothing."""
FOOLED = 0.1
"""A judge by whom the answer that says nothing wins more often than this is warned of."""
WORTHLESS = 3.0
"""A judge who marks the answer that says nothing higher than this is warned of."""
PAIR = (
    "You compare two answers to the same request. Judge by how well each does what was asked: right, helpful, complete "
    "and no longer than it has to be. Neither the order nor the length of the answers is a merit. Say in one or two "
    "sentences what decides, then end with [[A]] if the first answer is better, [[B]] if the second is, or [[C]] if "
    "they are equally good."
)
_VERDICT = re.compile(r"\[\[([ABC])\]\]")
_MARK = re.compile(r"\[\[(\d+(?:\.\d+)?)\]\]")


@dataclass(frozen=True, slots=True)
class Preferences:
    """How one side fares against the other: `points` of each item (1 won, ½ even, 0 lost), None where neither order
    could be read; `agreed` counts the items on which both orders said the same."""

    points: tuple[float | None, ...]
    agreed: int
    unread: int

    @property
    def rate(self) -> Score:
        """The win rate with its 95 % interval, over the items that could be read."""
        known = [point for point in self.points if point is not None]
        columns = np.array([(point, 1.0) for point in known]).reshape(-1, 2)
        if not known:
            return Score(0.5, 0.0, 1.0, 0)
        low, high = bootstrap(columns, share)
        return Score(float(np.mean(known)), low, high, len(known))


def verdict(text: str) -> float | None:
    """What a judge's text gives the first answer: 1, ½ or 0; None where it says nothing that can be read."""
    found = _VERDICT.findall(text)
    return {"A": 1.0, "B": 0.0, "C": 0.5}[found[-1]] if found else None


def mark(text: str) -> float | None:
    """The mark of a judge's text, 1 to 10; None where it gives none."""
    found = _MARK.findall(text)
    value = float(found[-1]) if found else None
    return value if value is not None and 1 <= value <= 10 else None


def compare_answers(
    judge: Judge, requests: Sequence[Sequence[Message]], ours: Sequence[str], theirs: Sequence[str]
) -> Preferences:
    """Our answers against theirs, each pair shown in both orders; a pair that is judged otherwise in each is even."""
    said = judge(
        [_pair(r, a, b) for r, a, b in zip(requests, ours, theirs, strict=True)]
        + [_pair(r, b, a) for r, a, b in zip(requests, ours, theirs, strict=True)]
    )
    first = [verdict(text) for text in said[: len(requests)]]
    second = [None if (v := verdict(text)) is None else 1 - v for text in said[len(requests) :]]
    points = []
    for one, other in zip(first, second, strict=True):
        known = [value for value in (one, other) if value is not None]
        points.append(sum(known) / len(known) if known else None)
    agreed = sum(a is not None and a == b for a, b in zip(first, second, strict=True))
    return Preferences(tuple(points), agreed, [*first, *second].count(None))


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


def mean_mark(marks: Sequence[Sequence[float | None]], turns: Sequence[int] = (0, 1)) -> Score | None:
    """The mean mark of these turns of all talks; None where none could be read."""
    given = [[mark for turn in turns if (mark := of_talk[turn]) is not None] for of_talk in marks]
    columns = np.array([(sum(part), len(part)) for part in given], dtype=np.float64)
    if not columns[:, 1].sum():
        return None
    return Score(float(share(columns.sum(0))), *bootstrap(columns, share), len(columns))


def longer_marks(talks: Sequence["Talk"], marks: Sequence[Sequence[float | None]]) -> Score | None:
    """By how much answers longer than the mean are marked above the shorter ones; None where a side has no mark."""
    known = [
        (len(answer), mark)
        for talk, of_talk in zip(talks, marks, strict=True)
        for answer, mark in zip(talk.answers, of_talk, strict=True)
        if mark is not None
    ]
    middle = sum(length for length, _ in known) / max(len(known), 1)
    columns = np.array([(m, 1, 0, 0) if length > middle else (0, 0, m, 1) for length, m in known], dtype=np.float64)
    if not known or not columns[:, 1].sum() or not columns[:, 3].sum():
        return None
    low, high = bootstrap(columns, _apart)
    return Score(float(_apart(columns.sum(0))), low, high, len(columns))


def _apart(sums: Array) -> Array:
    """The mean of the longer ones less that of the shorter ones; 0 where a resample holds one side alone."""
    means = [np.divide(sums[..., i], sums[..., i + 1], out=np.zeros_like(sums[..., i]), where=sums[..., i + 1] > 0)
             for i in (0, 2)]  # fmt: skip
    apart: Array = np.where((sums[..., 1] > 0) & (sums[..., 3] > 0), means[0] - means[1], 0.0)
    return apart


def mark_warnings(nothing: Score | None, longer: Score | None) -> list[str]:
    """What makes the marks of this judge doubtful, in sentences."""
    found = []
    if nothing is not None and nothing.value > WORTHLESS:
        found.append(
            f"an answer that says nothing gets {nothing.value:.1f} of 10 by this judge, so its marks mean little"
        )
    if longer is not None and longer.low > 0:
        found.append(
            f"longer answers get {longer.value:.1f} [{longer.low:.1f}, {longer.high:.1f}] more: mind the lengths"
        )
    return found


def rated(judge: Judge, prompts: Mapping[str, Mapping[str, Any]], talks: Sequence["Talk"]) -> list[list[float | None]]:
    """The mark of each turn of each talk by MT-Bench's own prompts (`judge_prompts.jsonl`, by name)."""
    asked, places = [], []
    for number, talk in enumerate(talks):
        for turn in range(len(talk.answers)):
            asked.append(_rating(prompts, talk, turn))
            places.append(number)
    found: list[list[float | None]] = [[] for _ in talks]
    for place, text in zip(places, judge(asked), strict=True):
        found[place].append(mark(text))
    return found


@dataclass(frozen=True, slots=True)
class Talk:
    """A question of MT-Bench in two turns, what was answered, and the reference answers where there are any."""

    questions: tuple[str, ...]
    answers: tuple[str, ...]
    references: tuple[str, ...] = ()


def _rating(prompts: Mapping[str, Mapping[str, Any]], talk: Talk, turn: int) -> list[Message]:
    name = ("single-math-v1" if talk.references else "single-v1") + ("-multi-turn" if turn else "")
    chosen = prompts[name]
    fields = {"question": talk.questions[0], "answer": talk.answers[0]}
    for i, (question, answer) in enumerate(zip(talk.questions, talk.answers, strict=True), start=1):
        fields |= {f"question_{i}": question, f"answer_{i}": answer}
    for i, reference in enumerate(talk.references, start=1):
        fields |= {f"ref_answer_{i}": reference}
    text = re.sub(r"\{(\w+)\}", lambda found: fields.get(found[1], found[0]), chosen["prompt_template"])
    system = chosen["system_prompt"]
    return [*([Message("system", system)] if system else []), Message("user", text)]
