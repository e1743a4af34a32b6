"""A source of data → examples, findings and the balance between them.

The decision: the books always balance. Every record that was read either gave examples or is counted under the
finding that stopped it; nothing is repaired in silence and nothing vanishes.
"""

import hashlib
from collections import Counter
from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import chain, islice
from pathlib import Path
from typing import Any

from tunesmith.data.checks import Answer, Finding, Findings, find, find_in_file, stopping
from tunesmith.data.example import AnyExample, Example, Message, Origin
from tunesmith.data.files import find_files, fingerprint
from tunesmith.data.formats.format import Format
from tunesmith.data.formats.roles import BEFORE
from tunesmith.data.formats.table import FORMATS
from tunesmith.data.kinds import KINDS
from tunesmith.data.recognition import FIRST, fits, named, recognise, renamed
from tunesmith.data.records import Record, not_an_object, read_file
from tunesmith.errors import DataError

Source = str | Path | Sequence[str | Path | Mapping[str, Any]]
MEMORY = "<memory>"


@dataclass(frozen=True, slots=True)
class Reading:
    """What a source holds: examples in its order, findings (capped per kind), and the balance.

    `read` = records that gave examples + the sum of `dropped` (name of the finding that stopped them → count).
    `format` names the formats, joined by "+" where files differ. `totals` counts all findings by name, beyond the cap.
    `sha256` is that of the file's bytes, or over the sums of several files.
    """

    examples: tuple[AnyExample, ...]
    findings: tuple[Finding, ...]
    format: str
    read: int
    dropped: Mapping[str, int]
    sha256: str
    totals: Mapping[str, int]

    def refuse(
        self,
        *,
        on_bad_record: Answer = "stop",
        on_no_target: Answer = "stop",
        allow: Container[str] = (),
        way_out: str | None = None,
    ) -> None:
        """Return only if nothing that was found stops a run under these settings.

        `allow` names findings that stop nothing. `way_out` is what drops such records instead of stopping, where it is
        not the settings of a run.

        Raises:
            DataError: lists the first findings that do, their number and the setting that drops such records.
        """
        found = stopping(self.findings, on_bad_record=on_bad_record, on_no_target=on_no_target, allow=allow)
        if found:
            total = sum(self.totals[name] for name in {f.name for f in found})
            raise DataError(f"{total} findings in {self.read} records stop the run:\n{_refusal(found, total, way_out)}")


def _refusal(found: Sequence[Finding], total: int, way_out: str | None) -> str:
    shown = "\n".join(f"  {f}" for f in found[:10])
    more = f"\n  … and {total - 10} more" if total > 10 else ""
    settings = sorted({setting for f in found if (setting := KINDS[f.name].setting)})
    names = ", ".join(sorted({f.name for f in found}))
    drop = f"{' '.join(f'{s}=drop' for s in settings)} for all of their kind, or " if settings else ""
    way_out = way_out or f"{drop}data.allow='[{names}]'"
    return f"{shown}{more}\nCorrect them, or go on without them: {way_out}."


@dataclass(slots=True)
class Balance:
    """The books of a reading, kept while it runs."""

    read: int = 0
    dropped: Counter[str] = field(default_factory=Counter)
    formats: list[str] = field(default_factory=list)

    def book(self, finding: Finding) -> Finding:
        """The finding, after the record that it stands for has been counted."""
        if finding.level == "stop":
            self.read += 1
            self.dropped[finding.name] += 1
        return finding


def read_examples(
    source: Source,
    *,
    format: str | None = None,
    fields: Mapping[str, str] | None = None,
    system: str | None = None,
) -> Reading:
    """Everything that `source` holds: a file, folder or glob, several of them, or records in memory.

    `fields` maps the format's field names to those of the file; `system` is put before conversations without one.

    Raises:
        DataError: a file is missing, empty or unreadable, holds no record, or fits no format.
        UsageError: there is no format of that name.
    """
    balance, findings = Balance(), Findings()
    examples: list[AnyExample] = []
    for item in stream_examples(source, balance, format=format, fields=fields, system=system):
        if isinstance(item, Finding):
            findings.add(item)
        else:
            examples.append(item)
    return Reading(
        examples=tuple(examples),
        findings=tuple(findings.kept),
        format="+".join(balance.formats),
        read=balance.read,
        dropped=dict(balance.dropped),
        sha256=_fingerprint(source),
        totals=dict(findings.totals),
    )


def stream_examples(
    source: Source,
    balance: Balance,
    *,
    format: str | None = None,
    fields: Mapping[str, str] | None = None,
    system: str | None = None,
) -> Iterator[AnyExample | Finding]:
    """Examples and findings one by one, in bounded memory; `balance` is kept up to date on the way."""
    wanted = named(format) if format is not None else None
    for name, rows in _files(source):
        if isinstance(rows, Finding):
            yield rows
            continue
        for item in _read_rows(rows, name, balance, wanted, fields or {}):
            yield item if system is None or not isinstance(item, Example) else _with_system(item, system)


def field_values(source: Source, name: str) -> dict[Origin, Any]:
    """What each record holds in one field, by origin, for splits by group or class (`assign`); None where absent."""
    rows = (row for _, rows in _files(source) if not isinstance(rows, Finding) for row in rows)
    return {
        row.origin: row.value.get(name) for row in rows if isinstance(row, Record) and isinstance(row.value, Mapping)
    }


def _files(source: Source) -> Iterator[tuple[str, Iterator[Record | Finding] | Finding]]:
    """Each file's name and its records; of records in memory, all as one file."""
    parts = [source] if isinstance(source, str | Path) else list(source)
    mappings = [part for part in parts if not isinstance(part, str | Path)]
    if mappings:
        if len(mappings) < len(parts):
            raise DataError("a source is either files or records, not both.")
        yield MEMORY, _in_memory(mappings)
        return
    if not parts:
        raise DataError("the source names no file and holds no record.")
    for named_source in parts:
        files, ignored = find_files(named_source if isinstance(named_source, Path) else str(named_source))
        for path in ignored:
            message = f"{path.name} was not read: it is no data file beside the others."
            yield str(path), find_in_file("file-ignored", message, str(path))
        for path in files:
            yield str(path), read_file(path)


def _in_memory(values: Sequence[Any]) -> Iterator[Record | Finding]:
    for number, value in enumerate(values, start=1):
        origin = Origin(MEMORY, number)
        yield Record(value, origin) if isinstance(value, Mapping) else not_an_object(value, origin)


def _read_rows(
    rows: Iterator[Record | Finding],
    file: str,
    balance: Balance,
    wanted: Format | None,
    fields: Mapping[str, str],
) -> Iterator[AnyExample | Finding]:
    first = list(islice(rows, FIRST))
    values = [renamed(r.value, fields) for r in first if isinstance(r, Record)]
    format = recognise(values, fields, wanted, file)
    if format.name not in balance.formats and values:
        balance.formats.append(format.name)
    before = balance.read
    every = chain(first, rows)
    yield from (
        _gather(every, format, balance, fields) if format.gather else _each(every, format, wanted, balance, fields)
    )
    if balance.read == before:
        raise DataError(f"{file}: the file holds no record.")


def _each(
    rows: Iterable[Record | Finding],
    format: Format,
    wanted: Format | None,
    balance: Balance,
    fields: Mapping[str, str],
) -> Iterator[AnyExample | Finding]:
    for row in rows:
        if isinstance(row, Finding):
            yield balance.book(row)
            continue
        balance.read += 1
        outcome = _examples(row, format, wanted, fields)
        stop = next((item for item in outcome if isinstance(item, Finding) and item.level == "stop"), None)
        if stop is not None:
            balance.dropped[stop.name] += 1
        yield from outcome


def _gather(
    rows: Iterable[Record | Finding], format: Format, balance: Balance, fields: Mapping[str, str]
) -> Iterator[AnyExample | Finding]:
    """The examples of a format that needs several records for one; the file's records are held."""
    assert format.gather is not None
    records = []
    for row in rows:
        record = row if isinstance(row, Finding) else Record(renamed(row.value, fields), row.origin)
        if isinstance(record, Record) and not fits(format, record.value):
            record = _misfit(record, format)
        if isinstance(record, Finding):
            yield balance.book(record)
        else:
            records.append(record)
    for group in format.gather(records):
        balance.read += group.read
        balance.dropped.update(group.dropped)
        yield from group.outcome


def _examples(
    record: Record, format: Format, wanted: Format | None, fields: Mapping[str, str]
) -> list[AnyExample | Finding]:
    if fields:
        record = Record(renamed(record.value, fields), record.origin)
    if wanted is None and not fits(format, record.value):
        return [_misfit(record, format)]
    outcome = format.examples(record)
    return [_in_their_names(item, fields) for item in outcome] if fields else outcome


def _misfit(record: Record, format: Format) -> Finding:
    other = next((f for f in FORMATS.values() if fits(f, record.value)), None)
    if other is not None:
        message = f"the record has the format {other.name!r}, but the file is read as {format.name!r}."
        return find("mixed-formats", message, record.origin)
    absent = [repr(name) for name in format.required if name not in record.value]
    what = f"the field {' and '.join(absent)} is absent" if absent else "its fields hold other types"
    found = ", ".join(map(str, record.value)) or "none"
    message = f"the record does not fit the format {format.name!r} of this file: {what}. Found: {found[:120]}."
    return find("no-format", message, record.origin)


def _in_their_names(item: AnyExample | Finding, fields: Mapping[str, str]) -> AnyExample | Finding:
    if isinstance(item, Finding) and item.path:
        own = item.path.partition(".")[0].partition("[")[0]
        if own in fields:
            return replace(item, path=fields[own] + item.path[len(own) :])
    return item


def _with_system(example: Example, system: str) -> Example:
    if example.messages[0].role in BEFORE:
        return example
    return replace(example, messages=(Message("system", system), *example.messages))


def _fingerprint(source: Source) -> str:
    parts = [source] if isinstance(source, str | Path) else list(source)
    paths = [path for part in parts if isinstance(part, str | Path) for path in find_files(part)[0]]
    if paths:
        return fingerprint(paths)
    return hashlib.sha256("\n".join(map(repr, parts)).encode("utf-8", "surrogatepass")).hexdigest()
