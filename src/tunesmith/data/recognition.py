"""Which format the records of a file have, or a sentence that says how to make one fit.

The decision: the content decides, never the file's name, and it is decided over the first hundred records, so that a
broken first record misleads nobody. What fits nothing is answered with the field names found, the closest format and
the mapping to write.
"""

import difflib
from collections.abc import Mapping, Sequence
from typing import Any

from tunesmith.data.formats.format import Format
from tunesmith.data.formats.table import FORMATS
from tunesmith.data.formats.text import TEXT
from tunesmith.errors import DataError, UsageError

FIRST = 100
# What data sets call the fields that ours expect, for the suggestion alone.
SYNONYMS: Mapping[str, tuple[str, ...]] = {
    "prompt": ("question", "query", "input", "inputs", "instruction", "source", "context", "user", "text", "request"),
    "completion": ("answer", "response", "output", "target", "reply", "assistant", "solution", "label", "summary"),
    "instruction": ("prompt", "question", "task", "query"),
    "output": ("response", "answer", "completion", "target"),
    "response": ("output", "answer", "completion"),
    "messages": ("message", "chat", "dialog", "dialogue", "turns", "conversation"),
    "conversations": ("dialog", "dialogue", "turns"),
    "text": ("content", "body", "sentence", "document", "review", "utterance"),
    "label": ("category", "class", "intent", "labels", "target", "sentiment"),
}


def named(name: str) -> Format:
    """The format of this name, with the options that follow it after colons (`tree:best:en`).

    Raises:
        UsageError: there is none; suggests the nearest.
    """
    base, *options = name.split(":")
    if base in FORMATS and not options:
        return FORMATS[base]
    if base in FORMATS and (variant := FORMATS[base].variant) is not None:
        return variant(*options)
    near = difflib.get_close_matches(base.replace("-", "_"), FORMATS, n=1)
    hint = f" Did you mean {near[0]!r}?" if near else ""
    raise UsageError(f"data.format: there is no format {name!r}; known are {', '.join(FORMATS)}.{hint}")


def renamed(value: Any, fields: Mapping[str, str]) -> Any:
    """A record's value with its fields under the format's own names; `fields` maps those to the file's names."""
    if not fields or isinstance(value, str):
        return value
    return {**value, **{own: value[theirs] for own, theirs in fields.items() if theirs in value}}


def fits(format: Format, value: Any) -> bool:
    """Whether a record's value is meant to be of this format."""
    return format is TEXT if isinstance(value, str) else format.recognise(value)


def candidates(fields: Mapping[str, str]) -> list[Format]:
    """The formats that have all fields that are mapped.

    Raises:
        DataError: there is none.
    """
    found = [f for f in FORMATS.values() if set(fields) <= {*f.required, *f.optional}]
    if not found:
        names = ", ".join(f"{f.name} ({', '.join((*f.required, *f.optional))})" for f in FORMATS.values())
        raise DataError(f"data.fields: no format has the fields {', '.join(fields)}. Formats and fields: {names}.")
    return found


def recognise(values: Sequence[Any], fields: Mapping[str, str], wanted: Format | None, file: str) -> Format:
    """The format that most of the first records (already renamed) are meant to have.

    Raises:
        DataError: none of them fits; says what was found and how to map it.
    """
    if not values:
        return wanted or candidates(fields)[0]
    choice = [wanted] if wanted else candidates(fields)
    hits = {f.name: sum(fits(f, value) for value in values) for f in choice}
    best = max(choice, key=lambda f: hits[f.name])
    if hits[best.name] == 0:
        raise DataError(_unfit(values, fields, wanted, file))
    return best


def _unfit(values: Sequence[Any], fields: Mapping[str, str], wanted: Format | None, file: str) -> str:
    if isinstance(values[0], str):
        return f"{file}: the file is plain text, which only the format 'text' reads."
    found = [str(key) for key in dict.fromkeys(fields.get(key, key) for value in values for key in value)]
    shown = ", ".join(key or "(no name)" for key in found[:20]) or "none"
    for theirs in fields.values():
        if theirs not in found:
            near = difflib.get_close_matches(theirs, found, n=1)
            hint = f" Did you mean {near[0]!r}?" if near else ""
            return f"{file}: data.fields names {theirs!r}, but the fields found are: {shown}.{hint}"
    what = f"do not fit the format {wanted.name!r}" if wanted else "fit no known format"
    return f"{file}: the records {what}; the fields found are: {shown}. {_advice(found, wanted)}"


def _advice(found: Sequence[str], wanted: Format | None) -> str:
    formats = [wanted] if wanted else list(FORMATS.values())
    filled, format, mapping = max((_mapping(f, found) for f in formats), key=lambda m: m[0])
    if filled and mapping:
        pairs = ", ".join(f"{own}: {theirs}" for own, theirs in mapping.items())
        needs = " and ".join(repr(field) for field in format.required)
        return f"The closest is {format.name!r}, which needs {needs}: try data.fields='{{{pairs}}}'."
    about = "".join(f"\n  {f.name}: {f.about}" for f in formats)
    return f"Map your names with data.fields='{{own: yours}}'. Formats:{about}"


def _mapping(format: Format, found: Sequence[str]) -> tuple[int, Format, dict[str, str]]:
    """How many fields of a format the found ones could fill (0 unless all), and the mapping that would do so."""
    mapping: dict[str, str] = {}
    free = [name for name in found if name not in format.required]
    filled = 0
    for own in format.required:
        if own in found:
            filled += 1
        elif theirs := _meant(own, free):
            mapping[own] = theirs
            free.remove(theirs)
            filled += 1
    complete = filled == len(format.required)
    return (filled if complete else 0), format, mapping


def _meant(own: str, found: Sequence[str]) -> str | None:
    lower = {name.lower(): name for name in found}
    for synonym in (own, *SYNONYMS.get(own, ())):
        if synonym in lower:
            return lower[synonym]
    near = difflib.get_close_matches(own, lower, n=1, cutoff=0.75)
    return lower[near[0]] if near else None
