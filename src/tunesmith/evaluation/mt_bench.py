"""MT-Bench: talks of two turns, marked from 1 to 10 or preferred in pairs, by the prompts of the benchmark.

The decision: every turn is judged by itself with the talk before it, as published: by the prompts of the benchmark's
own file, and beside the reference answers wherever a question has them (mathematics, reasoning, coding), because a
judge that cannot solve a question takes a wrong answer for a right one. Both turns of a question are one item of an
interval.

Zheng et al., 2023, "Judging LLM-as-a-Judge with MT-Bench and Chatbot Arena", https://arxiv.org/abs/2306.05685, sections
3.4 (references) and A (prompts); the files are those of FastChat (fastchat/llm_judge/data).
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from tunesmith.data.example import Message
from tunesmith.errors import DataError
from tunesmith.evaluation.intervals import Array, bootstrap
from tunesmith.evaluation.judging import PAIR, Judge, Preferences, preferred
from tunesmith.evaluation.metrics import Score, share

Prompts = Mapping[str, Mapping[str, Any]]
"""What a judge is told, by name: rows of `judge_prompts.jsonl` with `system_prompt` and `prompt_template`."""

WORTHLESS = 3.0
"""A judge who marks the answer that says nothing higher than this is warned of."""
TURNS = 2
_MARK = re.compile(r"\[\[(\d+(?:\.\d+)?)\]\]")
_LAST = PAIR + " Judge the answers to the last question; what stands before it is what they answer to."
_REFERENCE = " The right answer is given; an answer that contradicts it is wrong."
_TALK = (
    "[Question]\n{question_1}\n\n[Answer %s]\n{answer_%s_1}\n\n[Question]\n{question_2}\n\n[Answer %s]\n{answer_%s_2}"
)
_TALKS = "\n\n\n".join(_TALK % (name, name.lower(), name, name.lower()) for name in "AB")
_ONE = "[Question]\n{question}\n\n%s[Answer A]\n{answer_a}\n\n[Answer B]\n{answer_b}"
OURS: Prompts = {
    "pair-v2": {"system_prompt": PAIR, "prompt_template": _ONE % ""},
    "pair-v2-multi-turn": {"system_prompt": _LAST, "prompt_template": _TALKS},
    "pair-math-v1": {
        "system_prompt": PAIR + _REFERENCE, "prompt_template": _ONE % "[The right answer]\n{ref_answer_1}\n\n"
    },
    "pair-math-v1-multi-turn": {
        "system_prompt": _LAST + _REFERENCE,
        "prompt_template": f"[The right answers]\n{{ref_answer_1}}\n\n{{ref_answer_2}}\n\n\n{_TALKS}",
    },
}  # fmt: skip
"""Prompts of our own for pairs, where the benchmark's file has none."""


@dataclass(frozen=True, slots=True)
class Talk:
    """A question of MT-Bench in two turns, what was answered, and the reference answers where there are any."""

    questions: tuple[str, ...]
    answers: tuple[str, ...]
    references: tuple[str, ...] = ()


def mark(text: str) -> float | None:
    """The mark of a judge's text, 1 to 10; None where it gives none."""
    found = _MARK.findall(text)
    value = float(found[-1]) if found else None
    return value if value is not None and 1 <= value <= 10 else None


def rated(judge: Judge, prompts: Prompts, talks: Sequence[Talk]) -> list[list[float | None]]:
    """The mark of each turn of each talk by MT-Bench's own prompts (`judge_prompts.jsonl`, by name).

    Raises:
        DataError: a prompt is missing.
    """
    asked, places = [], []
    for number, talk in enumerate(talks):
        for turn in range(len(talk.answers)):
            asked.append(_rating(prompts, talk, turn))
            places.append(number)
    found: list[list[float | None]] = [[] for _ in talks]
    for place, text in zip(places, judge(asked), strict=True):
        found[place].append(mark(text))
    return found


def _rating(prompts: Prompts, talk: Talk, turn: int) -> list[Message]:
    name = ("single-math-v1" if talk.references else "single-v1") + ("-multi-turn" if turn else "")
    fields = {"question": talk.questions[0], "answer": talk.answers[0]}
    return _filled(prompts, name, fields | _numbered(talk) | _each("answer", talk.answers))


def preferred_talks(judge: Judge, prompts: Prompts, ours: Sequence[Talk], theirs: Sequence[Talk]) -> Preferences:
    """Our answers against theirs, each turn by itself and in both orders; the turns of a question follow each other.

    Raises:
        DataError: a prompt is missing.
    """
    pairs = [
        (_pair(prompts, a, b, turn), _pair(prompts, b, a, turn))
        for a, b in zip(ours, theirs, strict=True)
        for turn in range(TURNS)
    ]
    return preferred(judge, pairs, together=TURNS)


def _pair(prompts: Prompts, first: Talk, second: Talk, turn: int) -> list[Message]:
    name = ("pair-math-v1" if first.references else "pair-v2") + ("-multi-turn" if turn else "")
    fields = {"question": first.questions[0], "answer_a": first.answers[0], "answer_b": second.answers[0]}
    fields |= _numbered(first) | _each("answer_a", first.answers) | _each("answer_b", second.answers)
    return _filled(prompts, name, fields)


def _numbered(talk: Talk) -> dict[str, str]:
    return _each("question", talk.questions) | _each("ref_answer", talk.references)


def _each(name: str, texts: Sequence[str]) -> dict[str, str]:
    return {f"{name}_{i}": text for i, text in enumerate(texts, start=1)}


def _filled(prompts: Prompts, name: str, fields: Mapping[str, str]) -> list[Message]:
    """A prompt of the benchmark with its fields; what stands in braces otherwise is text."""
    try:
        template, system = prompts[name]["prompt_template"], prompts[name]["system_prompt"]
    except (KeyError, TypeError) as error:
        raise DataError(f"judge_prompts.jsonl: there is no whole prompt {name!r}. Take FastChat's file.") from error
    text = re.sub(r"\{(\w+)\}", lambda found: fields.get(found[1], found[0]), template)
    return [*([Message("system", system)] if system else []), Message("user", text)]


def mean_mark(marks: Sequence[Sequence[float | None]], turns: Sequence[int] = (0, 1)) -> Score | None:
    """The mean mark of these turns of all talks; None where none could be read."""
    given = [[mark for turn in turns if (mark := of_talk[turn]) is not None] for of_talk in marks]
    columns = np.array([(sum(part), len(part)) for part in given], dtype=np.float64)
    if not columns[:, 1].sum():
        return None
    return Score(float(share(columns.sum(0))), *bootstrap(columns, share), len(columns))


def longer_marks(talks: Sequence[Talk], marks: Sequence[Sequence[float | None]]) -> Score | None:
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
