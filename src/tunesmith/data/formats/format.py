"""Format: how a Record becomes Examples.

The decision: a format is a value with two functions and the list of its fields, so that a new one is one small module
and one line in `table.py`. Formats see their own field names alone; `data.fields` has been applied before.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from tunesmith.data.checks import Finding, find
from tunesmith.data.example import AnyExample, Origin
from tunesmith.data.records import Record

Outcome = list[AnyExample | Finding]


@dataclass(frozen=True, slots=True)
class Gathered:
    """What several records that belong together hold: how many there were, and how many gave no example and why."""

    outcome: Outcome
    read: int
    dropped: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class Format:
    """One way to write examples.

    `required` and `optional` are the names of its fields. `recognise` says whether a record is meant to be of this
    format (a record may be and still be wrong); `examples` gives what the record holds and what was found in it.
    A finding at level `stop` means that the record gives no example. Where examples need several records, `gather`
    reads all of a file instead and keeps its own balance. `variant` gives the format with options (`tree:best`).
    """

    name: str
    about: str
    required: tuple[str, ...]
    optional: tuple[str, ...]
    recognise: Callable[[Mapping[str, Any]], bool]
    examples: Callable[[Record], Outcome]
    gather: Callable[[Iterable[Record]], Iterator[Gathered]] | None = None
    variant: "Callable[..., Format] | None" = None


@dataclass(slots=True)
class Notes:
    """What is found in one record while it is read."""

    origin: Origin
    found: list[Finding] = field(default_factory=list)
    stopped: bool = False

    def add(self, name: str, message: str, path: str | None = None) -> None:
        finding = find(name, message, self.origin, path)
        self.stopped = self.stopped or finding.level == "stop"
        self.found.append(finding)

    def outcome(self, *made: AnyExample) -> Outcome:
        """The findings, and what was made unless one of them stops the record."""
        return [*self.found] if self.stopped else [*made, *self.found]


def text_field(value: Mapping[str, Any], name: str, notes: Notes, *, required: bool = True) -> str:
    """The text in a field; "" and a finding where it is no text, and where it is absent but required."""
    text = value.get(name)
    if isinstance(text, str):
        return text
    if text is None:
        if required:
            what = "is null" if name in value else "is absent"
            notes.add("missing-field", f"the field {name!r} {what}. Write its text, or name another field.", name)
    else:
        shown = type(text).__name__
        notes.add("wrong-type", f"the field {name!r} holds a value of type {shown}, where text is needed.", name)
    return ""
