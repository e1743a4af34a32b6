"""What a portion of a set tells in tokens, as counts and a few examples, and the even sample of the whole set.

The decision: each example draws a number that follows from its place in the set alone, and those with the lowest ones
are the sample. So the sample is even, bounded, and the same whether or not the pass was interrupted.
"""

import random
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, astuple, dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tunesmith.data.checks import Finding
from tunesmith.data.example import Origin
from tunesmith.data.portions import pack
from tunesmith.tokens.encoded import EncodedExample
from tunesmith.tokens.findings import KINDS

SAMPLE = 4096
FIRST = 3
_SPARE = 2
"""A portion keeps so many times its share of the sample, so that hardly ever one of the lowest is left out."""


@dataclass(slots=True)
class Tally:
    """Numbers that add up: examples that can be trained, their tokens, those that are learned, and borders."""

    examples: int = 0
    total: int = 0
    supervised: int = 0
    borders: int = 0
    compared: int = 0


class Sample:
    """At most `SAMPLE` examples from everywhere in a set, the first ones always among them."""

    def __init__(self) -> None:
        self._chosen: list[tuple[float, int, EncodedExample]] = []
        self._passed = 0

    def following(self) -> "Draw":
        """The draw for the next portion."""
        return Draw(self._passed)

    def take(self, facts: Mapping[str, Any], arrays: Mapping[str, bytes]) -> None:
        """Add what was chosen of the next portion."""
        ids: NDArray[np.int32] = np.frombuffer(arrays["ids"], np.int32)
        weights: NDArray[np.float32] = np.frombuffer(arrays["weights"], np.float32)
        at = 0
        for number, place, length, origin in facts["chosen"]:
            one = EncodedExample(ids[at : at + length], weights[at : at + length], Origin(*origin))
            self._chosen.append((number, place, one))
            at += length
        self._passed += facts["tally"]["examples"]
        if len(self._chosen) > SAMPLE:
            self._chosen = sorted(self._chosen, key=lambda chosen: chosen[:2])[:SAMPLE]

    def examples(self) -> list[EncodedExample]:
        """The sample in the order of the set."""
        return [one for _, _, one in sorted(self._chosen, key=lambda chosen: chosen[1])]


class Draw:
    """Chooses examples of one portion, before which so many examples have `passed`."""

    def __init__(self, passed: int) -> None:
        self._passed = passed
        self._chance = random.Random(passed)
        self._below = _SPARE * SAMPLE / max(passed, 1)
        self.chosen: list[tuple[float, int, EncodedExample]] = []

    def look(self, one: EncodedExample) -> None:
        """Choose an example or leave it."""
        number = self._chance.random() if self._passed >= FIRST else -1.0
        if number < self._below:
            self.chosen.append((number, self._passed, one))
        self._passed += 1


@dataclass(slots=True)
class Portion:
    """The counts of one portion."""

    draw: Draw
    tally: Tally = field(default_factory=Tally)
    lengths: Counter[int] = field(default_factory=Counter)
    dropped: Counter[str] = field(default_factory=Counter)
    findings: list[Finding] = field(default_factory=list)
    _record: Origin | None = None
    _stopped: str | None = None

    def book(self, encoded: Sequence[EncodedExample], found: Sequence[Finding], origin: Origin) -> None:
        """Count what became of one example, and what was found in it."""
        self.findings += found
        stop = next((f.name for f in found if KINDS[f.name].level == "stop"), None)
        if origin != self._record:
            self.close()
            self._record, self._stopped = origin, stop
        elif stop is None:
            self._stopped = None
        if stop is None:
            for one in encoded:
                self._count(one)

    def close(self) -> None:
        """End the last record; a record is dropped if each of its examples was."""
        if self._stopped is not None:
            self.dropped[self._stopped] += 1
        self._record = self._stopped = None

    def told(self, seen: int) -> bytes:
        """All of it as bytes; `seen` is the number of examples that were looked at."""
        chosen = [
            (number, place, len(one), (one.origin.file, one.origin.line)) for number, place, one in self.draw.chosen
        ]
        facts = {
            "seen": seen, "tally": asdict(self.tally), "lengths": self.lengths, "dropped": self.dropped,
            "findings": [astuple(finding) for finding in self.findings], "chosen": chosen,
        }  # fmt: skip
        ones = [one for _, _, one in self.draw.chosen]
        arrays = {
            "ids": b"".join(one.ids.astype(np.int32).tobytes() for one in ones),
            "weights": b"".join(one.weights.astype(np.float32).tobytes() for one in ones),
        }
        return pack(facts, arrays)

    def _count(self, one: EncodedExample) -> None:
        self.tally.examples += 1
        self.tally.total += len(one)
        self.tally.supervised += int(np.count_nonzero(one.weights > 0))
        self.lengths[len(one)] += 1
        self.draw.look(one)
