"""JSON documents → rows: an array of objects streamed, or an object that holds one list of objects.

The decision: an array is read element by element, so a file larger than memory works and a broken element costs only
itself wherever the layout shows where the next begins (one element a line, or pretty-printed).
"""

import json
from codecs import getincrementaldecoder
from collections.abc import Iterator, Mapping
from io import BufferedReader
from typing import Any, BinaryIO, cast

import orjson

from tunesmith.data.checks import Finding, find, find_in_file
from tunesmith.data.example import Origin
from tunesmith.data.parsing import explain, parse
from tunesmith.errors import DataError

CHUNK = 2**18
ELEMENT_LIMIT = 32 * 2**20
DOCUMENT_LIMIT = 2**30
CONTAINERS = ("data", "rows", "examples", "train", "records", "items", "instances", "samples")
Row = tuple[int, Mapping[str, Any]]


def is_document(stream: BinaryIO, kind: str) -> bool:
    """Whether the stream is one JSON document rather than one object a line."""
    head = cast(BufferedReader, stream).peek(CHUNK).lstrip()
    first, _, rest = head.partition(b"\n")
    many = bool(rest.strip()) and _complete(first)
    if head.startswith(b"["):
        return not many
    return kind == ".json" and not many


def _complete(line: bytes) -> bool:
    try:
        orjson.loads(line)
    except orjson.JSONDecodeError:
        return False
    return True


def rows(stream: BinaryIO, file: str) -> Iterator[Row | Finding]:
    """Row number (from 1) and object of each element, and the findings of those that are broken."""
    head = cast(BufferedReader, stream).peek(CHUNK).lstrip()
    if not head.startswith(b"["):
        yield from _object_rows(stream, file)
        return
    for row, raw in enumerate(_Elements(stream, file), start=1):
        if isinstance(raw, Finding):
            yield raw
            continue
        origin = Origin(file, row)
        value, findings = parse(raw, origin)
        yield from findings
        if isinstance(value, dict):
            yield row, value
        elif not any(f.level == "stop" for f in findings):
            yield find("not-an-object", f"expected one JSON object, {{...}}, but found {raw[:40].decode()}.", origin)


class _Elements:
    """The elements of a JSON array as bytes; a Finding in place of one that is broken."""

    def __init__(self, stream: BinaryIO, file: str) -> None:
        self._stream = stream
        self._file = file
        # Bytes that are not UTF-8 travel through the splitter unharmed and are found in their own element.
        self._decode = getincrementaldecoder("utf-8")("surrogateescape").decode
        self._scan = json.JSONDecoder().raw_decode
        self._text = ""
        self._at = 0
        self._line = 1
        self._row = 0
        self._ended = False
        self._layout: str | None = None

    def __iter__(self) -> Iterator[bytes | Finding]:
        self._skip("")
        self._at += 1
        while True:
            before = self._skip(",")
            if "\n" in before:
                self._layout = before[before.rindex("\n") :]
            if self._at >= len(self._text):
                yield find_in_file("rest-not-read", "the array is not closed: the file ends early.", self._file)
                return
            if self._text[self._at] == "]":
                yield from self._behind()
                return
            self._row += 1
            element = self._element()
            yield element
            if isinstance(element, Finding) and element.name == "rest-not-read":
                return

    def _fill(self) -> bool:
        """Read more text, dropping what is done; False at the end of the file."""
        self._line += self._text.count("\n", 0, self._at)
        # As much again as is waiting: an element of any size is scanned a few times only.
        raw = self._stream.read(max(CHUNK, len(self._text) - self._at))
        self._text = self._text[self._at :] + self._decode(raw, not raw)
        self._at = 0
        self._ended = not raw
        return bool(raw)

    def _skip(self, extra: str) -> str:
        """Go on to the next character that is neither white space nor in `extra`; what was skipped."""
        skipped = ""
        while True:
            rest = self._text[self._at : self._at + 4096]
            left = rest.lstrip(" \t\r\n" + extra)
            skipped += rest[: len(rest) - len(left)]
            self._at += len(rest) - len(left)
            if left or (self._at >= len(self._text) and not self._fill()):
                return skipped

    def _element(self) -> bytes | Finding:
        while True:
            try:
                _, end = self._scan(self._text, self._at)
            except (json.JSONDecodeError, RecursionError) as error:
                if self._undecided(error) and self._fill():
                    continue
                return self._broken(error)
            raw = self._text[self._at : end].encode("utf-8", "surrogateescape")
            self._at = end
            return raw

    def _undecided(self, error: json.JSONDecodeError | RecursionError) -> bool:
        """Whether more text could make the element whole."""
        if self._ended or len(self._text) - self._at > ELEMENT_LIMIT or isinstance(error, RecursionError):
            return False
        return error.msg.startswith("Unterminated string") or error.pos > len(self._text) - 16

    def _broken(self, error: json.JSONDecodeError | RecursionError) -> Finding:
        line = self._line + self._text.count("\n", 0, getattr(error, "pos", self._at))
        following = self._next_element()
        end = following if following is not None else len(self._text)
        reason = str(error)
        if isinstance(error, json.JSONDecodeError):
            shifted = json.JSONDecodeError(error.msg, self._text[self._at : end], error.pos - self._at)
            reason = explain(self._text[self._at : end], shifted)
        if following is None:
            message = f"line {line} of the file: {reason} What follows could not be read."
            return find("rest-not-read", message, Origin(self._file, self._row))
        self._at = following
        return find("bad-json", f"line {line} of the file: {reason}", Origin(self._file, self._row))

    def _next_element(self) -> int | None:
        """Where the layout of the file so far says that the next element begins."""
        if self._layout is None:
            return None
        sign = self._layout + "{"
        while (found := self._text.find(sign, self._at + 1)) < 0:
            if not self._fill():
                return None
        return found + len(sign) - 1

    def _behind(self) -> Iterator[Finding]:
        self._at += 1
        self._skip("")
        if self._at < len(self._text):
            shown = self._text[self._at : self._at + 40]
            yield find_in_file("rest-not-read", f"text stands behind the end of the array: {shown!r}.", self._file)


def _at_most(stream: BinaryIO, count: int) -> bytes:
    held = bytearray()
    while len(held) < count and (part := stream.read(min(2**20, count - len(held)))):
        held += part
    return bytes(held)


def _object_rows(stream: BinaryIO, file: str) -> Iterator[Row | Finding]:
    # In parts: one read of the whole limit sets so much memory aside, however small the file is.
    raw = _at_most(stream, DOCUMENT_LIMIT + 1)
    if len(raw) > DOCUMENT_LIMIT:
        raise DataError(f"{file}: one JSON object of more than 1 GiB. Write it as JSONL: one record a line.")
    value, findings = parse(raw, Origin(file, 1))
    if value is None and findings:
        raise DataError(f"{file}: {findings[0].message}")
    yield from findings
    if not isinstance(value, dict):
        raise DataError(f"{file}: expected an array of objects, [{{...}}, ...], or one object a line (JSONL).")
    for row, item in enumerate(_the_list(value, file), start=1):
        if isinstance(item, dict):
            yield row, item
        else:
            message = f"expected one JSON object, {{...}}, but found {str(item)[:40]}."
            yield find("not-an-object", message, Origin(file, row))


def _the_list(value: dict[str, Any], file: str) -> list[Any]:
    """The list of records inside the object; the object itself where it is one record."""
    lists = [key for key, v in value.items() if isinstance(v, list) and v and isinstance(v[0], dict)]
    named = [key for key in lists if key in CONTAINERS]
    if len(named) > 1:
        raise DataError(
            f"{file}: the object holds several lists of records: {', '.join(named)}. Keep the one to be read."
        )
    return cast(list[Any], value[named[0]]) if named else [value]
