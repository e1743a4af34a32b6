"""One JSON text → its value, read strictly: what other readers pass over in silence is found here.

The decision: orjson reads every line; only what looks suspicious (an error, a key count that differs, a number
beyond 64 bits) is read again by the slow and talkative standard library. Clean lines pay almost nothing.
"""

import json
import math
from collections.abc import Iterable, Iterator
from typing import Any

import orjson

from tunesmith.data.checks import Finding, find
from tunesmith.data.example import Origin
from tunesmith.data.formats.roles import WEIGHTS

DEPTH_LIMIT = 200
_HUGE = float(2**63)
_NO_NUMBER = float("nan")
"""What NaN and Infinity are while an object is read; recognised by identity."""


def parse(raw: bytes, origin: Origin) -> tuple[Any, list[Finding]]:
    """The value of one JSON text and what was found in it; the value is None if a finding stops the record."""
    try:
        value = orjson.loads(raw)
    except orjson.JSONDecodeError as error:
        return _parse_slowly(raw, origin, error)
    keys, odd = _survey(value, 1) if isinstance(value, dict | list) else (0, False)
    # In valid JSON a quote followed by a colon ends a key, unless the quote itself is escaped.
    written = raw.count(b'":') - raw.count(b'\\":') + raw.count(b'" :') - raw.count(b'\\" :')
    if odd or written != keys:
        return _parse_slowly(raw, origin, None)
    return value, []


def _survey(value: dict[str, Any] | list[Any], depth: int) -> tuple[int, bool]:
    """How many keys `value` holds, and whether it has a number beyond 64 bits or is nested too deeply."""
    if depth > DEPTH_LIMIT:
        return 0, True
    keys, odd = 0, False
    items: Iterable[Any] = value
    if type(value) is dict:
        keys, items = len(value), value.values()
    for item in items:
        kind = type(item)
        if kind is dict or kind is list:
            more, strange = _survey(item, depth + 1)
            keys += more
            odd = odd or strange
        elif kind is float:
            odd = odd or abs(item) >= _HUGE
    return keys, odd


class _Remarks:
    """The hooks of the standard reader that remember what they saw."""

    def __init__(self) -> None:
        self.duplicates: list[str] = []
        self.constants: list[str] = []
        self.huge: list[str] = []

    def pairs(self, pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        # A weight that is no number must not become one that is not written, which would count in full.
        value = {key: None if item is _NO_NUMBER and key not in WEIGHTS else item for key, item in pairs}
        if len(value) != len(pairs):
            keys = [key for key, _ in pairs]
            self.duplicates += sorted({key for key in keys if keys.count(key) > 1})
        return value

    def constant(self, text: str) -> float:
        self.constants.append(text)
        return _NO_NUMBER

    def integer(self, text: str) -> int:
        if len(text) > 18 and not -(2**63) <= int(text) < 2**64:
            self.huge.append(text)
        return int(text)

    def number(self, text: str) -> float:
        value = float(text)
        return self.constant(text) if math.isinf(value) else value


def _parse_slowly(raw: bytes, origin: Origin, error: orjson.JSONDecodeError | None) -> tuple[Any, list[Finding]]:
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError as wrong:
        return None, [_not_utf8(raw, wrong, origin)]
    remarks = _Remarks()
    try:
        value = json.loads(
            text,
            object_pairs_hook=remarks.pairs,
            parse_constant=remarks.constant,
            parse_int=remarks.integer,
            parse_float=remarks.number,
        )
    except RecursionError:
        return None, [find("deep-nesting", f"the JSON is nested more than {DEPTH_LIMIT} levels deep.", origin)]
    except ValueError as wrong:
        if isinstance(error, orjson.JSONDecodeError) and "depth limit" in error.msg:
            return None, [find("deep-nesting", f"the JSON is nested more than {DEPTH_LIMIT} levels deep.", origin)]
        return None, [find("bad-json", explain(text, error or wrong), origin)]
    findings = list(_remarked(remarks, value, text, origin))
    return (None if any(f.level == "stop" for f in findings) else value), findings


def _remarked(remarks: _Remarks, value: Any, text: str, origin: Origin) -> Iterator[Finding]:
    if _depth(value) > DEPTH_LIMIT:
        yield find("deep-nesting", f"the JSON is nested more than {DEPTH_LIMIT} levels deep.", origin)
    elif "\\u" in text and _lone_surrogate(json.dumps(value, ensure_ascii=False)):
        yield find(
            "lone-surrogate", "the text holds half of a surrogate pair (\\ud800 to \\udfff), no character.", origin
        )
    for key in remarks.duplicates[:3]:
        yield find("duplicate-key", f"the key {key!r} stands twice in one object, so its value is ambiguous.", origin)
    if remarks.constants:
        yield find("not-a-number", f"{remarks.constants[0]} is no JSON value; it was read as null.", origin)
    if remarks.huge:
        yield find("huge-integer", f"the integer {remarks.huge[0][:40]} does not fit in 64 bits.", origin)


def _lone_surrogate(text: str) -> bool:
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return True
    return False


def _depth(value: Any) -> int:
    level, depth = [value], 0
    while level and depth <= DEPTH_LIMIT:
        containers = [v for v in level if isinstance(v, dict | list)]
        level = [item for v in containers for item in (v.values() if isinstance(v, dict) else v)]
        depth += bool(containers)
    return depth


def _not_utf8(raw: bytes, wrong: UnicodeDecodeError, origin: Origin) -> Finding:
    guess = raw[max(0, wrong.start - 10) : wrong.start + 10].decode("cp1252", "replace").strip()
    return find(
        "not-utf8",
        f"byte {wrong.start + 1} of the line (0x{raw[wrong.start]:02x}) is not UTF-8; "
        f"as Windows-1252 it would read {guess!r}. Save the file as UTF-8.",
        origin,
    )


def explain(text: str, error: json.JSONDecodeError | ValueError) -> str:
    """What is wrong with a JSON text and at which column, with a guess at how it happened."""
    position = min(getattr(error, "pos", 0), len(text))
    around = text[max(0, position - 20) : position + 20]
    reason = getattr(error, "msg", str(error))
    return f"not valid JSON at column {position + 1}: {reason}, near {around!r}.{_guess(text, position)}"


def _guess(text: str, position: int) -> str:
    opening, here = text.lstrip()[:2], text[position : position + 1]
    if "\0" in text:
        return " The line holds NUL bytes, as after a crash while writing."
    if opening.startswith("{'") or here == "'":
        return " It looks like Python's notation: JSON needs double quotes."
    if here == "{" or (here == "" and text.rstrip()[-1:] in "{[,:"):
        return " Two records on one line, or one record over several lines?"
    if position >= len(text.rstrip()):
        return " The line ends in the middle of the record."
    if text[position : position + 4] in ("None", "True") or text[position : position + 5] == "False":
        return " JSON writes null, true and false."
    return ""
