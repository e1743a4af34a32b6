"""Votes of people who saw two answers without knowing whose they were.

The decision: which answer stands first is a pure function of the item, so a page that is opened again shows the same
and a kept vote needs no memory of what was on the screen. A vote keeps the sum of the prompt and both answers, so it
counts for these two texts alone, whatever the models are called. A tie says that nobody won; the win rate is of decided
votes.
"""

import hashlib
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import orjson

from tunesmith.errors import DataError
from tunesmith.evaluation.intervals import mcnemar, wilson
from tunesmith.evaluation.item import Item

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


@dataclass(frozen=True, slots=True)
class Contest:
    """Two models by name and what they answered to the same items: what votes are about."""

    names: tuple[str, str]
    left: Sequence[Item]
    right: Sequence[Item]

    def item(self, place: int) -> str:
        """What identifies the texts of one item: a sum (hex) over the prompt and both answers."""
        a, b = self.left[place], self.right[place]
        return hashlib.sha256(json.dumps([a.prompt, a.answer, b.answer]).encode()).hexdigest()[:16]

    def swapped(self, place: int) -> bool:
        """Whether the right model's answer is shown first."""
        return swapped(place, self.left[place].prompt)

    def line(self, place: int, vote: Side) -> dict[str, object]:
        """A vote as it is kept: what was compared, what was shown first, and whose answer it is for."""
        first = "right" if self.swapped(place) else "left"
        return {
            "index": place, "item": self.item(place), "left": self.names[0], "right": self.names[1], "first": first,
            "vote": vote,
        }  # fmt: skip


def load_votes(path: Path, contest: Contest) -> tuple[dict[int, Side], int]:
    """The last vote on each item of a vote file, none where there is no file yet; and how many lines do not say what
    was compared, because an older version wrote them.

    Raises:
        DataError: a line is no vote, or one of another contest.
    """
    found: dict[int, Side] = {}
    unsure = 0
    for number, line in enumerate(path.read_bytes().splitlines() if path.is_file() else (), start=1):
        try:
            raw = orjson.loads(line)
            place, vote = int(raw["index"]), raw["vote"]
        except (orjson.JSONDecodeError, KeyError, TypeError, ValueError) as error:
            raise DataError(f"{path}:{number}: no vote ({error}). Take the line out.") from error
        if vote not in ("left", "right", "tie"):
            raise DataError(f"{path}:{number}: {vote!r} is no vote: left, right or tie. Take the line out.")
        if "item" in raw and not _of(raw, place, contest):
            raise DataError(
                f"{path}:{number}: a vote on other answers, {raw.get('left')} against {raw.get('right')}; these are of "
                f"{contest.names[0]} against {contest.names[1]}. Keep them apart: --votes OTHER.jsonl."
            )
        unsure += "item" not in raw
        found[place] = vote
    return found, unsure


def _of(raw: dict[str, object], place: int, contest: Contest) -> bool:
    """Whether a kept vote is about these answers; of an item that is not asked today (--limit) the names decide."""
    if 0 <= place < len(contest.left):
        return raw["item"] == contest.item(place)
    return (raw.get("left"), raw.get("right")) == contest.names
