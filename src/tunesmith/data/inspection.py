"""Everything that can be said about a set before its tokens are known, in one pass and bounded memory.

The decision: what is found in one example is found while it passes by, and what several of them tell together is
counted or kept as numbers (`survey`, `repeats`), so a set of any size can be inspected. The pass goes by portions whose
results can be kept, so that one that was interrupted does not look at the same examples again.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import astuple, dataclass, fields
from pathlib import Path
from typing import Any, Protocol

from tunesmith.data.benchmarks import benchmark
from tunesmith.data.checks import Finding, Findings, find_in_file
from tunesmith.data.contamination import HeldOut
from tunesmith.data.example import AnyExample, Origin
from tunesmith.data.portions import Kept, pack, portions, unpack
from tunesmith.data.reading import Balance, Source, read_examples, stream_examples
from tunesmith.data.repeats import Repeats
from tunesmith.data.selection import Selection
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


class Beside(Protocol):
    """Something that looks at examples beside the inspection, for checks that need more than text."""

    def look(self, items: Sequence[Item]) -> bytes:
        """What a portion of the examples and findings tells."""
        ...

    def take(self, told: bytes) -> None:
        """Add what a portion told, in order; it may have been kept by an earlier pass."""
        ...


def inspect(
    source: Source,
    *,
    options: Mapping[str, Any] | None = None,
    against: Mapping[str, Source] | None = None,
    near: float | None = 0.8,
    personal: bool = True,
    beside: Beside | None = None,
    kept: Path | None = None,
) -> Inspection:
    """The inspection of `source`, which `options` (format, fields, system) tell how to read.

    `against` names sets that must not be trained (held-out data, benchmarks); they are held in memory. `near` is the
    similarity from which examples count as nearly the same, None to look for exact repetition alone. `kept` is a file
    whose name stands for everything else that is given here and for the bytes of `source`: an interrupted inspection
    leaves there what it has found, and the next one goes on.

    Raises:
        DataError, UsageError: as `read_examples`.
    """
    balance, findings, counts = Balance(), Findings(), Survey()
    read = {name: read_other(other, options or {}, name) for name, other in (against or {}).items()}
    others = [HeldOut(name, other.examples) for name, other in read.items()]
    held_out = [example for other in others for example in other.examples]
    for finding in (finding for other in read.values() for finding in other.findings):
        findings.add(finding)
    with Repeats(near=near is not None, held_out=held_out) as repeats, Kept(kept) as results:
        for items in portions(stream_examples(source, balance, **(options or {}))):
            told = results.following()
            if told is None:
                told = _told(items, repeats, others, personal, beside)
                results.add(told)
            _take(told, findings, counts, repeats, beside)

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


def _told(
    items: Sequence[Item], repeats: Repeats, others: Sequence[HeldOut], personal: bool, beside: Beside | None
) -> bytes:
    """What a portion tells."""
    counts, numbers, findings = Survey(), repeats.numbers(), list[Finding]()
    for item in items:
        if isinstance(item, Finding):
            findings.append(item)
            continue
        numbers.look(item)
        findings += count(item, counts, personal=personal)
        findings += (finding for other in others for finding in other.look(item))
    facts = {
        "findings": list(map(astuple, findings)),
        "survey": {f.name: getattr(counts, f.name) for f in fields(counts)},
        "names": numbers.names,
    }
    return pack(facts, {**numbers.arrays(), "beside": b"" if beside is None else beside.look(items)})


def _take(told: bytes, findings: Findings, counts: Survey, repeats: Repeats, beside: Beside | None) -> None:
    facts, arrays = unpack(told)
    for name, level, message, file, line, path, other in facts["findings"]:
        findings.add(Finding(name, level, message, file, line, path, None if other is None else Origin(*other)))
    counts.add(facts["survey"])
    repeats.take(facts["names"], arrays)
    if beside is not None:
        beside.take(arrays["beside"])


def read_other(source: Source, options: Mapping[str, Any], name: str) -> Selection:
    """The examples of a set beside the inspected one: of a benchmark by its name (`benchmarks`) its questions; of files
    all, read as the inspected set is told to be read, or else as they are recognised. The finding, under the name of
    the set, is that records of it cannot be used.

    Raises:
        DataError: it can be read in neither way.
    """
    if isinstance(source, str) and (asked := benchmark(source)) is not None:
        return Selection(asked, ())
    try:
        reading = read_examples(source, **options)
    except DataError:
        reading = read_examples(source)
    lost = sum(reading.dropped.values())
    if not lost:
        return Selection(reading.examples, ())
    first = next(finding for finding in reading.findings if finding.level == "stop")
    message = f"{lost} of its {reading.read} records cannot be used and are compared with nothing; the first: {first}"
    return Selection(reading.examples, (find_in_file("held-out-unread", message, name),))
