"""CSV, TSV, Parquet and Arrow → rows as dictionaries.

The decision: CSV is read strictly (RFC 4180: quotes doubled, as many cells as the header), because a shifted cell
becomes a wrong label in silence. Class numbers that a data set's own metadata names are read as their names.
"""

import csv
from collections.abc import Iterator, Mapping
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Any, BinaryIO

import orjson

from tunesmith.data.checks import Finding, find, find_in_file
from tunesmith.data.example import Origin
from tunesmith.errors import DataError

CELL_LIMIT = 32 * 2**20
DELIMITERS = {".csv": ",", ".tsv": "\t"}
NAMES = {",": "comma", "\t": "tab", ";": "semicolon", "|": "bar"}
Row = tuple[int, Mapping[str, Any]]


def csv_rows(stream: BinaryIO, file: str, kind: str) -> Iterator[Row | Finding]:
    """Line number and cells by header of each row; the header stands on line 1."""
    csv.field_size_limit(max(csv.field_size_limit(), CELL_LIMIT))
    # Bytes that are not UTF-8 travel through the reader unharmed and are found in their own row.
    text = (raw.decode("utf-8", "surrogateescape") for raw in iter(partial(stream.readline, CELL_LIMIT), b""))
    first = next(text, "")
    delimiter = max(DELIMITERS[kind], *NAMES, key=lambda sign: (first.count(sign), sign == DELIMITERS[kind]))
    if delimiter != DELIMITERS[kind]:
        yield find_in_file("delimiter", f"the cells are separated by a {NAMES[delimiter]}.", file, 1)

    reader = csv.reader(chain([first], text), delimiter=delimiter, strict=True)
    header = _header(reader, file)
    while True:
        line = reader.line_num + 1
        try:
            cells = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            yield _bad_row(error, Origin(file, line))
            continue
        if not cells:
            yield find_in_file("blank-line", "the line is empty; it was skipped.", file, line)
            continue
        yield _wrong_row(header, cells, Origin(file, line)) or (line, dict(zip(header, cells, strict=True)))


def _header(reader: Iterator[list[str]], file: str) -> list[str]:
    try:
        header = [name.strip() for name in next(reader)]
    except csv.Error as error:
        raise DataError(f"{file}:1: the header is not valid CSV: {error}.") from error
    twice = sorted({name for name in header if header.count(name) > 1})
    if twice:
        raise DataError(f"{file}:1: two columns are named {twice[0]!r}. Rename one of them.")
    return header


def _bad_row(error: csv.Error, origin: Origin) -> Finding:
    if "unexpected end of data" in str(error) or "field larger" in str(error):
        message = "a quote opened in this row is never closed, so nothing behind it could be read."
        return find("rest-not-read", message, origin)
    message = f"not valid CSV: {error}. Inside a quoted cell, a quote is written twice."
    return find("bad-csv", message, origin)


def _wrong_row(header: list[str], cells: list[str], origin: Origin) -> Finding | None:
    if len(cells) != len(header):
        message = f"the row has {len(cells)} cells, but the header names {len(header)}. Quote cells that hold a comma."
        return find("ragged-row", message, origin)
    try:
        "".join(cells).encode("utf-8")
    except UnicodeEncodeError as wrong:
        byte = ord("".join(cells)[wrong.start]) - 0xDC00
        return find("not-utf8", f"byte 0x{byte:02x} of the row is not UTF-8. Save the file as UTF-8.", origin)
    return None


def arrow_rows(path: Path, kind: str) -> Iterator[Row]:
    """Row number (from 1) and values of each row of a Parquet or Arrow file.

    Raises:
        DataError: the file is not what its name says, or damaged.
    """
    import pyarrow as pa

    try:
        row = 0
        for batch, names in _batches(path, kind):
            for value in batch.to_pylist():
                row += 1
                for column, classes in names.items():
                    number = value.get(column)
                    if isinstance(number, int) and 0 <= number < len(classes):
                        value[column] = classes[number]
                yield row, value
        if row == 0:
            raise DataError(f"{path}: the file holds no row.")
    except (pa.ArrowException, OSError) as error:
        raise DataError(f"{path}: cannot be read as {kind[1:]}: {error}.") from error


def _batches(path: Path, kind: str) -> Iterator[tuple[Any, dict[str, list[str]]]]:
    import pyarrow as pa

    if kind == ".parquet":
        from pyarrow import parquet

        with parquet.ParquetFile(path) as table:
            names = _class_names(table.schema_arrow)
            yield from ((batch, names) for batch in table.iter_batches(batch_size=1000))
        return
    with pa.OSFile(str(path)) as source:
        if source.read(6) == b"ARROW1":
            whole = pa.ipc.open_file(source)
            names = _class_names(whole.schema)
            yield from ((whole.get_batch(i), names) for i in range(whole.num_record_batches))
        else:
            source.seek(0)
            stream = pa.ipc.open_stream(source)
            names = _class_names(stream.schema)
            yield from ((batch, names) for batch in stream)


def _class_names(schema: Any) -> dict[str, list[str]]:
    """The names of class numbers by column, as the `datasets` library stores them in a file's metadata."""
    stored = (schema.metadata or {}).get(b"huggingface")
    if stored is None:
        return {}
    features = orjson.loads(stored).get("info", {}).get("features", {})
    return {
        column: feature["names"]
        for column, feature in features.items()
        if isinstance(feature, dict) and feature.get("_type") == "ClassLabel" and feature.get("names")
    }
