"""Everything that can be said about a set before its tokens are known, in one pass and bounded memory.

The decision: of each example only keys and signatures are kept (about 0.6 KB), so a set of any size can be inspected.
Where signatures suggest near duplicates, the texts in question are read a second time and compared exactly.
"""

import hashlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from tunesmith.data.benchmarks import benchmark
from tunesmith.data.checks import Finding, Findings, find
from tunesmith.data.contamination import Benchmark
from tunesmith.data.duplicates import content_key, prompt_text, similarity, whole_text
from tunesmith.data.example import AnyExample, Example, Origin
from tunesmith.data.near import BANDS, ROWS, candidates, signature
from tunesmith.data.reading import Balance, Source, read_examples, stream_examples
from tunesmith.data.split import prompt_key
from tunesmith.data.survey import Survey, count, judgement
from tunesmith.errors import DataError

Item = AnyExample | Finding
# The estimate by 120 entries is off by 0.04 (one sigma) at a similarity of 0.8.
SLACK = 0.12


@dataclass(frozen=True, slots=True)
class Inspection:
    """What a source holds and what was found in it; `usable` = `read` - the sum of `dropped`."""

    format: str
    read: int
    usable: int
    dropped: Mapping[str, int]
    findings: tuple[Finding, ...]
    totals: Mapping[str, int]
    survey: Survey


@dataclass(slots=True)
class _Signed:
    """Signatures of texts, the number of the example that each belongs to."""

    numbers: list[int] = field(default_factory=list)
    raw: bytearray = field(default_factory=bytearray)

    def add(self, number: int, text: str) -> None:
        self.numbers.append(number)
        self.raw += signature(text).tobytes()

    def rows(self) -> Any:
        return np.frombuffer(self.raw, dtype=np.uint16).reshape(-1, BANDS * ROWS)


def inspect(
    source: Source,
    *,
    options: Mapping[str, Any] | None = None,
    against: Mapping[str, Source] | None = None,
    near: float | None = 0.8,
    personal: bool = True,
    watch: Callable[[Item], object] | None = None,
) -> Inspection:
    """The inspection of `source`, which `options` (format, fields, system) tell how to read.

    `against` names sets that must not be trained (held-out data, benchmarks); they are held in memory. `near` is the
    similarity from which examples count as nearly the same, None to look for exact repetition alone. `watch` is given
    every example and finding on the way, for checks that need more than text.

    Raises:
        DataError, UsageError: as `read_examples`.
    """
    balance, findings, counts = Balance(), Findings(), Survey()
    others = [_Other(name, read_other(other, options or {})) for name, other in (against or {}).items()]
    repeats = _Repeats(near, prompts=bool(others))
    for item in stream_examples(source, balance, **(options or {})):
        if watch is not None:
            watch(item)
        if isinstance(item, Finding):
            findings.add(item)
            continue
        for finding in (*count(item, counts, personal=personal), *repeats.look(item)):
            findings.add(finding)
        for other in others:
            for finding in other.look(item):
                findings.add(finding)
    for finding in judgement(counts):
        findings.add(finding)
    if near is not None:
        again = (
            item for item in stream_examples(source, Balance(), **(options or {})) if not isinstance(item, Finding)
        )
        for finding in _near(repeats, others, again, near):
            findings.add(finding)
    return Inspection(
        format="+".join(balance.formats),
        read=balance.read,
        usable=balance.read - balance.dropped.total(),
        dropped=dict(balance.dropped),
        findings=tuple(findings.kept),
        totals=dict(findings.totals),
        survey=counts,
    )


def read_other(source: Source, options: Mapping[str, Any]) -> tuple[AnyExample, ...]:
    """The examples of a set beside the inspected one: of a benchmark by its name (`benchmarks`) its questions; of files
    all, read as the inspected set is told to be read, or else as they are recognised.

    Raises:
        DataError: it can be read in neither way.
    """
    if isinstance(source, str) and (asked := benchmark(source)) is not None:
        return asked
    try:
        return read_examples(source, **options).examples
    except DataError:
        return read_examples(source).examples


def _short(key: bytes) -> bytes:
    return hashlib.blake2b(key, digest_size=12).digest()


class _Repeats:
    """The keys and signatures of a set, to find repetition within it."""

    def __init__(self, near: float | None, *, prompts: bool) -> None:
        self._near = near
        self._signs_prompts = prompts
        self._content: dict[bytes, int] = {}
        self._prompt: dict[bytes, int] = {}
        self.origins: list[Origin] = []
        self.whole = _Signed()
        self.prompts = _Signed()

    def look(self, example: AnyExample) -> Iterable[Finding]:
        number = len(self.origins)
        self.origins.append(example.origin)
        first = self._content.setdefault(_short(content_key(example)), number)
        if first != number:
            yield find("duplicate", f"the same as {self.origins[first]}.", example.origin, other=self.origins[first])
            return
        if self._near is not None:
            self.whole.add(number, whole_text(example))
        if self._near is not None and self._signs_prompts:
            self.prompts.add(number, prompt_text(example))
        if isinstance(example, Example) and sum(m.role == "assistant" for m in example.messages) == 1:
            asked = self._prompt.setdefault(_short(prompt_key(example)), number)
            if asked != number:
                earlier = self.origins[asked]
                message = f"the prompt of {earlier} with another answer."
                yield find("conflicting-answers", message, example.origin, other=earlier)


class _Other:
    """A set that must not be trained."""

    def __init__(self, name: str, examples: tuple[AnyExample, ...]) -> None:
        self.examples = examples
        self._prompts = {prompt_key(example): example.origin for example in examples}
        self._benchmark = Benchmark(examples, name)

    def look(self, example: AnyExample) -> Iterable[Finding]:
        held_out = self._prompts.get(prompt_key(example))
        if held_out is not None:
            message = f"its prompt stands in held-out data: {held_out}."
            yield find("leak", message, example.origin, other=held_out)
        elif (finding := self._benchmark.look(example)) is not None:
            yield finding


def _near(repeats: _Repeats, others: list[_Other], again: Iterable[AnyExample], threshold: float) -> Iterable[Finding]:
    pairs = [(repeats.whole.numbers[a], repeats.whole.numbers[b]) for a, b in _likely(repeats.whole.rows(), threshold)]
    held_out = [example for other in others for example in other.examples]
    crossing = list(_crossing(held_out, repeats, threshold)) if held_out else []
    wanted = {number for pair in pairs for number in pair} | {number for _, number in crossing}
    texts = {i: (whole_text(e), prompt_text(e)) for i, e in enumerate(again) if i in wanted} if wanted else {}
    best: dict[tuple[str, int], tuple[float, Origin]] = {}
    for earlier, later in pairs:
        _keep(best, ("near-duplicate", later), similarity(texts[earlier][0], texts[later][0]), repeats.origins[earlier])
    for outside, later in crossing:
        example = held_out[outside]
        _keep(best, ("near-leak", later), similarity(prompt_text(example), texts[later][1]), example.origin)
    for (name, number), (alike, origin) in sorted(best.items(), key=lambda entry: entry[0]):
        # Equal prompts have been found by their keys.
        if threshold <= alike and not (name == "near-leak" and alike == 1):
            message = f"nearly the same as {origin} (similarity {alike:.2f})."
            yield find(name, message, repeats.origins[number], other=origin)


def _keep(best: dict[Any, tuple[float, Origin]], key: tuple[str, int], alike: float, origin: Origin) -> None:
    if alike > best.get(key, (0.0, origin))[0]:
        best[key] = (alike, origin)


def _likely(signed: Any, threshold: float) -> Iterable[tuple[int, int]]:
    for earlier, later in candidates(signed):
        if float((signed[earlier] == signed[later]).mean()) >= threshold - SLACK:
            yield earlier, later


def _crossing(held_out: list[AnyExample], repeats: _Repeats, threshold: float) -> Iterable[tuple[int, int]]:
    """Pairs of a held-out example and one of the set whose prompts are likely alike."""
    signed = _Signed()
    for number, example in enumerate(held_out):
        signed.add(number, prompt_text(example))
    both = np.concatenate([signed.rows(), repeats.prompts.rows()])
    for earlier, later in _likely(both, threshold):
        if earlier < len(held_out) <= later:
            yield earlier, repeats.prompts.numbers[later - len(held_out)]
