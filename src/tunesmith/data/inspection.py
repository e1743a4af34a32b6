"""Everything that can be said about a set before its tokens are known, in one pass and bounded memory.

The decision: what is found in one example is found while it passes by, and what several of them tell together is
counted or kept as numbers (`survey`, `repeats`), so a set of any size can be inspected.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from tunesmith.data.benchmarks import benchmark
from tunesmith.data.checks import Finding, Findings, find
from tunesmith.data.contamination import Benchmark
from tunesmith.data.example import AnyExample
from tunesmith.data.reading import Balance, Source, read_examples, stream_examples
from tunesmith.data.repeats import Repeats
from tunesmith.data.split import prompt_key
from tunesmith.data.survey import Survey, count, judgement
from tunesmith.errors import DataError

Item = AnyExample | Finding


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
    held_out = [example for other in others for example in other.examples]
    with Repeats(near=near is not None, held_out=held_out) as repeats:
        for item in stream_examples(source, balance, **(options or {})):
            if watch is not None:
                watch(item)
            if isinstance(item, Finding):
                findings.add(item)
                continue
            repeats.look(item)
            for finding in (*count(item, counts, personal=personal), *(f for o in others for f in o.look(item))):
                findings.add(finding)

        def again() -> Iterator[AnyExample]:
            stream = stream_examples(source, Balance(), **(options or {}))
            return (item for item in stream if not isinstance(item, Finding))

        nearly = () if near is None else repeats.near(near, again)
        for finding in (*judgement(counts), *repeats.exact(), *nearly):
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
