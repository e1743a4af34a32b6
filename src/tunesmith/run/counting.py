"""What a set weighs in tokens, counted while its examples pass by.

The decision: lengths are counted exactly; what sharing saves is computed by forming the very batches of a run's first
epoch, of all examples while they are few, of an even sample of them where they are many. So memory stays bounded.
"""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from tunesmith.batches.forest import PrefixForest
from tunesmith.batches.order import permutation
from tunesmith.batches.packing import plan
from tunesmith.data.checks import Finding, Findings
from tunesmith.data.example import AnyExample, Example, Tokenized
from tunesmith.data.inspection import Item
from tunesmith.data.portions import unpack
from tunesmith.run.tally import Portion, Sample, Tally
from tunesmith.tokens.checks import Checker, check_ids, check_tokenized
from tunesmith.tokens.encode import Encoder
from tunesmith.tokens.encoded import EncodedExample

CHUNK = 256
COMPARED = 64
"""Conversations of a portion whose ids are compared with those in one piece."""
POINTS = (50, 90, 95, 99)


@dataclass(frozen=True, slots=True)
class Batched:
    """What batches of a sample compute: the share of its tokens that is left, and the most tokens at once."""

    share: float
    most_at_once: int


@dataclass(slots=True)
class Counting:
    """Counts over the examples that can be trained, and the findings of the tokenizer; looks beside an inspection.

    `dropped` counts records none of whose examples can be trained, by the finding that stopped the first. `borders`
    are the conversations that one-shot tokenisation would write otherwise, of those `compared`.
    """

    encoder: Encoder
    context: int
    tell: Callable[[int], object] = lambda count: None
    findings: Findings = field(default_factory=Findings)
    tally: Tally = field(default_factory=Tally)
    lengths: Counter[int] = field(default_factory=Counter)
    dropped: Counter[str] = field(default_factory=Counter)
    sample: Sample = field(default_factory=Sample)
    _checker: Checker = field(init=False)
    _seen: int = 0

    def __post_init__(self) -> None:
        self._checker = Checker(self.encoder, context=self.context)

    @property
    def longest(self) -> int:
        """Tokens of the longest example."""
        return max(self.lengths, default=0)

    def look(self, items: Sequence[Item]) -> bytes:
        """What a portion of the data tells."""
        examples = [item for item in items if not isinstance(item, Finding)]
        portion = Portion(self.sample.following())
        before = self._checker.borders, self._checker.compared
        for start in range(0, len(examples), CHUNK):
            chunk = examples[start : start + CHUNK]
            for example, (encoded, found) in zip(
                chunk, self._looked(chunk, COMPARED if start == 0 else 0), strict=True
            ):
                portion.book(encoded, found, example.origin)
            self.tell(self._seen + start + len(chunk))
        portion.close()
        portion.tally.borders = self._checker.borders - before[0]
        portion.tally.compared = self._checker.compared - before[1]
        return portion.told(len(examples))

    def take(self, told: bytes) -> None:
        """Add what a portion told."""
        facts, arrays = unpack(told)
        for fields in facts["findings"]:
            self.findings.add(Finding(*fields))
        for name, count in facts["tally"].items():
            setattr(self.tally, name, getattr(self.tally, name) + count)
        self.lengths.update({int(length): count for length, count in facts["lengths"].items()})
        self.dropped.update(facts["dropped"])
        self.sample.take(facts, arrays)
        self._seen += facts["seen"]
        self.tell(self._seen)

    def percentiles(self) -> Mapping[str, int]:
        """The lengths in tokens that so many percent of the examples do not exceed (nearest rank), and the longest."""
        found: dict[str, int] = {}
        passed, ordered = 0, sorted(self.lengths)
        for length in ordered:
            passed += self.lengths[length]
            for point in POINTS:
                if f"p{point}" not in found and passed * 100 >= point * self.tally.examples:
                    found[f"p{point}"] = length
        return {**found, "max": self.longest} if ordered else {}

    def batched(self, *, batch_size: int, budget: int, seed: int, sharing: bool = True) -> Batched:
        """What the batches of the first epoch compute (of a sample where there are more than `SAMPLE` examples)."""
        sample = self.sample.examples()
        order = permutation(seed, 0, len(sample))
        computed = most = 0
        for start in range(0, len(order), batch_size):
            step = [sample[i] for i in order[start : start + batch_size]]
            for part in plan(step, budget=budget, sharing=sharing):
                tokens = PrefixForest([step[i] for i in part], sharing=sharing).tokens
                computed += tokens
                most = max(most, tokens)
        data = sum(map(len, sample))
        return Batched(computed / data if data else 1.0, most)

    def _looked(
        self, chunk: Sequence[AnyExample], compare: int
    ) -> Iterator[tuple[list[EncodedExample], tuple[Finding, ...]]]:
        """What each example becomes, and what is found in it."""
        talks = [example for example in chunk if isinstance(example, Example)]
        looked = iter(self._checker.look(talks, compare=compare))
        for example in chunk:
            if isinstance(example, Example):
                encoded, found = next(looked)
                yield ([] if encoded is None else [encoded]), found
            elif isinstance(example, Tokenized):
                ready = check_tokenized(self.encoder, example, context=self.context)
                yield ([] if ready.encoded is None else [ready.encoded]), ready.findings
            else:
                windows = self.encoder.passages(example, self.context)
                yield windows, tuple(f for one in windows for f in check_ids(self.encoder, one, context=self.context))
