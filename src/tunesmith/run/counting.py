"""What a set weighs in tokens, counted while its examples pass by.

The decision: lengths are counted exactly; what sharing saves is computed by forming the very batches of a run's first
epoch, of all examples while they are few, of an even sample of them where they are many. So memory stays bounded.
"""

import random
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from tunesmith.batches.forest import PrefixForest
from tunesmith.batches.order import permutation
from tunesmith.batches.packing import plan
from tunesmith.data.checks import Finding, Findings
from tunesmith.data.example import AnyExample, Example, Origin, Tokenized
from tunesmith.data.inspection import Item
from tunesmith.tokens.checks import KINDS, Checker, check_ids, check_tokenized
from tunesmith.tokens.encode import Encoder
from tunesmith.tokens.encoded import EncodedExample

SAMPLE = 4096
CHUNK = 256
POINTS = (50, 90, 95, 99)


@dataclass(frozen=True, slots=True)
class Batched:
    """What batches of a sample compute: the share of its tokens that is left, and the most tokens at once."""

    share: float
    most_at_once: int


@dataclass(slots=True)
class Counting:
    """Counts over the examples that can be trained, and the findings of the tokenizer; `watch` is given every item.

    `dropped` counts records none of whose examples can be trained, by the finding that stopped the first.
    """

    encoder: Encoder
    context: int
    tell: Callable[[int], object] = lambda count: None
    findings: Findings = field(default_factory=Findings)
    dropped: Counter[str] = field(default_factory=Counter)
    examples: int = 0
    total: int = 0
    supervised: int = 0
    lengths: Counter[int] = field(default_factory=Counter)
    sample: list[EncodedExample] = field(default_factory=list)
    first: list[EncodedExample] = field(default_factory=list)
    _checker: Checker = field(init=False)
    _waiting: list[AnyExample] = field(default_factory=list)
    _record: Origin | None = None
    _stopped: str | None = None
    _seen: int = 0
    _random: random.Random = field(default_factory=lambda: random.Random(0))

    def __post_init__(self) -> None:
        self._checker = Checker(self.encoder, context=self.context)

    @property
    def borders(self) -> tuple[int, int]:
        """How many conversations one-shot tokenisation would write otherwise, and of how many."""
        return self._checker.borders, self._checker.compared

    @property
    def longest(self) -> int:
        """Tokens of the longest example."""
        return max(self.lengths, default=0)

    def watch(self, item: Item) -> None:
        """Count one example."""
        if isinstance(item, Finding):
            return
        self._waiting.append(item)
        if len(self._waiting) == CHUNK:
            self._look()

    def close(self) -> None:
        """Count what is still waiting."""
        self._look()
        self._end_record(None)

    def percentiles(self) -> Mapping[str, int]:
        """The lengths in tokens that so many percent of the examples do not exceed (nearest rank), and the longest."""
        found: dict[str, int] = {}
        passed, ordered = 0, sorted(self.lengths)
        for length in ordered:
            passed += self.lengths[length]
            for point in POINTS:
                if f"p{point}" not in found and passed * 100 >= point * self.examples:
                    found[f"p{point}"] = length
        return {**found, "max": self.longest} if ordered else {}

    def batched(self, *, batch_size: int, budget: int, seed: int, sharing: bool = True) -> Batched:
        """What the batches of the first epoch compute (of a sample where there are more than `SAMPLE` examples)."""
        order = permutation(seed, 0, len(self.sample))
        computed = most = 0
        for start in range(0, len(order), batch_size):
            step = [self.sample[i] for i in order[start : start + batch_size]]
            for part in plan(step, budget=budget, sharing=sharing):
                tokens = PrefixForest([step[i] for i in part], sharing=sharing).tokens
                computed += tokens
                most = max(most, tokens)
        data = sum(len(one) for one in self.sample)
        return Batched(computed / data if data else 1.0, most)

    def _look(self) -> None:
        talks = [item for item in self._waiting if isinstance(item, Example)]
        looked = iter(self._checker.look(talks))
        for item in self._waiting:
            if isinstance(item, Example):
                encoded, found = next(looked)
                self._book([] if encoded is None else [encoded], found, item.origin)
            elif isinstance(item, Tokenized):
                ready = check_tokenized(self.encoder, item, context=self.context)
                self._book([] if ready.encoded is None else [ready.encoded], ready.findings, item.origin)
            else:
                windows = self.encoder.passages(item, self.context)
                found = tuple(f for one in windows for f in check_ids(self.encoder, one, context=self.context))
                self._book(windows, found, item.origin)
        self._seen += len(self._waiting)
        self._waiting.clear()
        self.tell(self._seen)

    def _book(self, encoded: Sequence[EncodedExample], found: Sequence[Finding], origin: Origin) -> None:
        for finding in found:
            self.findings.add(finding)
        stop = next((f.name for f in found if KINDS[f.name].level == "stop"), None)
        if origin != self._record:
            self._end_record(origin)
            self._stopped = stop
        elif stop is None:
            self._stopped = None
        if stop is None:
            for one in encoded:
                self._count(one)

    def _end_record(self, following: Origin | None) -> None:
        """A record is dropped if each of its examples was."""
        if self._stopped is not None:
            self.dropped[self._stopped] += 1
        self._record, self._stopped = following, None

    def _count(self, one: EncodedExample) -> None:
        self.examples += 1
        self.total += len(one)
        self.supervised += int((one.weights > 0).sum())
        self.lengths[len(one)] += 1
        if len(self.first) < 3:
            self.first.append(one)
        if len(self.sample) < SAMPLE:
            self.sample.append(one)
        elif (place := self._random.randrange(self.examples)) < SAMPLE:
            self.sample[place] = one
