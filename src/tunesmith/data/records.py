"""Files → Records: one raw row each, which knows where it stands.

The decision: reading streams, in memory that does not grow with the file, and never stops at a broken row: the row
becomes a Finding and the next one is read. Only a file that cannot be read at all is an error. What a file is, its
name says, except that `.json` and `.jsonl` are so often confused that their first bytes decide.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from tunesmith.data import arrays, tables, texts
from tunesmith.data.checks import Finding, find, find_in_file
from tunesmith.data.example import Origin
from tunesmith.data.files import DAMAGE, TEXTS, find_files, kind_of, lines, open_bytes, without_mark
from tunesmith.data.parsing import parse
from tunesmith.errors import DataError

LINE_LIMIT = 32 * 2**20


@dataclass(frozen=True, slots=True)
class Record:
    """One raw row: a mapping for structured files, a str for plain text."""

    value: Any
    origin: Origin


def read_records(path: str | Path) -> Iterator[Record | Finding]:
    """The records of a file, folder or glob in order, and what was found while reading them.

    A finding at level `stop` stands for one record that could not be read.

    Raises:
        DataError: a file is missing, empty, of no known kind, or cannot be read at all.
    """
    files, ignored = find_files(path)
    for file in ignored:
        yield find_in_file("file-ignored", f"not read: {file.name} is no data file beside the others.", str(file))
    for file in files:
        yield from read_file(file)


def read_file(path: Path) -> Iterator[Record | Finding]:
    """The records of one file and what was found in it."""
    name, kind = str(path), kind_of(path)
    if kind in (".parquet", ".arrow"):
        yield from (Record(value, Origin(name, row)) for row, value in tables.arrow_rows(path, kind))
        return
    if kind not in (".jsonl", ".ndjson", ".json", ".csv", ".tsv", *TEXTS):
        raise DataError(
            f"{path}: unknown kind of file {kind or '(no suffix)'!r}; expected .jsonl, .json, .csv, .tsv, .parquet, "
            ".arrow, .txt or .md, the textual ones also packed as .gz or .zst."
        )
    last = 0
    with open_bytes(path) as packed:
        try:
            stream, mark = without_mark(packed)
            if mark is not None:
                yield _marked(mark, name)
            for item in _read_stream(stream, name, kind):
                last = item.origin.line if isinstance(item, Record) else item.line or last
                yield item
        except DAMAGE as error:
            yield find_in_file(
                "truncated-file", f"the packed file is damaged or cut off here: {error}.", name, last + 1
            )
        except UnicodeDecodeError as error:
            raise DataError(f"{path}: the file is not the {mark} that its first bytes announce: {error}.") from error


def _marked(encoding: str, file: str) -> Finding:
    if encoding == "utf-8":
        return find_in_file("byte-order-mark", "the file begins with a byte order mark, which is not read.", file)
    return find_in_file("utf16", f"the file is {encoding.upper()}; it was read as that. UTF-8 is expected.", file)


def _read_stream(stream: BinaryIO, file: str, kind: str) -> Iterator[Record | Finding]:
    rows: Iterator[tuple[int, Any] | Finding]
    if kind in TEXTS:
        rows = texts.pieces(stream, file)
    elif kind in (".csv", ".tsv"):
        rows = tables.csv_rows(stream, file, kind)
    elif arrays.is_document(stream, kind):
        rows = arrays.rows(stream, file)
    else:
        rows = json_lines(stream, file)
    for row in rows:
        yield row if isinstance(row, Finding) else Record(row[1], Origin(file, row[0]))


def json_lines(stream: BinaryIO, file: str) -> Iterator[tuple[int, Mapping[str, Any]] | Finding]:
    """Line number and object of each line of a JSONL stream, and the findings of those that are broken."""
    blank: list[int] = []
    for number, raw in lines(stream, LINE_LIMIT):
        if raw is None:
            yield find_in_file("line-too-long", "the line is longer than 32 MiB; it was skipped.", file, number)
            continue
        raw = raw.rstrip()
        if not raw:
            blank.append(number)
            continue
        while blank:
            yield find_in_file("blank-line", "the line is empty; it was skipped.", file, blank.pop(0))
        value, findings = parse(raw, Origin(file, number))
        yield from findings
        if isinstance(value, dict):
            yield number, value
        elif not any(f.level == "stop" for f in findings):
            yield not_an_object(value, Origin(file, number))


def not_an_object(value: Any, origin: Origin) -> Finding:
    """The finding for a record that is no JSON object."""
    return find("not-an-object", f"expected one JSON object, {{...}}, but found {str(value)[:40]!r}.", origin)
