"""Votes of people who saw two answers without knowing whose they were.

The decision: which answer stands first is a pure function of the item, so a page that is opened again shows the same
and a kept vote needs no memory of what was on the screen. A tie says that nobody won; the win rate is of decided votes.
"""

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import orjson

from tunesmith.errors import DataError
from tunesmith.evaluation.intervals import mcnemar, wilson

Side = Literal["left", "right", "tie"]


@dataclass(frozen=True, slots=True)
class Tally:
    """How many items each side won, the right one's share of decided votes with its 95 % interval, and exact p."""

    left: int
    right: int
    ties: int
    rate: float
    low: float
    high: float
    p: float

    def __str__(self) -> str:
        decided = self.left + self.right
        return (
            f"{self.right} of {decided} decided votes for the second, {self.ties} ties: "
            f"{self.rate:.1%} [{self.low:.1%}, {self.high:.1%}], p {self.p:.3f}"
        )


def swapped(place: int, prompt: str) -> bool:
    """Whether the right model's answer is shown first for this item."""
    return hashlib.sha256(f"{place}\0{prompt}".encode()).digest()[0] % 2 == 1


def side(shown: Literal["first", "second", "tie"], *, swapped: bool) -> Side:
    """Whose answer a vote is for."""
    if shown == "tie":
        return "tie"
    return "right" if (shown == "first") == swapped else "left"


def tally(votes: Iterable[Side]) -> Tally:
    """The votes counted. Without a decided vote the rate is a half, with an interval from 0 to 1."""
    found = list(votes)
    left, right = found.count("left"), found.count("right")
    low, high = wilson(right, left + right)
    rate = right / (left + right) if left + right else 0.5
    return Tally(left, right, len(found) - left - right, rate, low, high, mcnemar(left, right))


def load_votes(path: Path) -> dict[int, Side]:
    """The last vote on each item of a vote file; none where there is no file yet.

    Raises:
        DataError: a line is no vote.
    """
    found: dict[int, Side] = {}
    if not path.is_file():
        return found
    for number, line in enumerate(path.read_bytes().splitlines(), start=1):
        try:
            raw = orjson.loads(line)
            place, vote = int(raw["index"]), raw["vote"]
        except (orjson.JSONDecodeError, KeyError, TypeError, ValueError) as error:
            raise DataError(f"{path}:{number}: no vote ({error}). Take the line out.") from error
        if vote not in ("left", "right", "tie"):
            raise DataError(f"{path}:{number}: {vote!r} is no vote: left, right or tie. Take the line out.")
        found[place] = vote
    return found
