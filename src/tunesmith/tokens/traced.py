"""Traced: text that remembers, character by character, whose words it is.

The decision: authorship is observed while the template runs, never guessed from the finished text. Every string that
enters a template (the messages', the tools', the template's own literals) is a `Traced`, a `str` that carries its
sources through concatenation, slicing, stripping, splitting and replacing. What a template makes in any other way comes
out as `UNKNOWN`: nobody's words, so never a control token.
"""

from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple, Self, SupportsIndex

TEMPLATE, TOOLS, UNKNOWN = -1, -2, -3
OUTSIDE = -1


class Source(NamedTuple):
    """Where characters come from.

    `author` is the index of a message, or TEMPLATE, TOOLS, UNKNOWN. `turn` is the index of the message whose loop body
    was running when the template made them, or else when it wrote them (OUTSIDE: none was). `marked` tells that a
    `{% generation %}` block held them.
    """

    author: int
    turn: int = OUTSIDE
    marked: bool = False


Runs = tuple[tuple[int, Source], ...]
NOBODY = Source(UNKNOWN)


class Traced(str):
    """A string with the sources of its characters: runs of (length, Source) that add up to its length."""

    __slots__ = ("_runs",)
    _runs: Runs

    @classmethod
    def of(cls, text: str, source: Source) -> Self:
        """`text` with one source for all of it."""
        return cls._made(text, ((len(text), source),) if text else ())

    @classmethod
    def _made(cls, text: str, runs: Runs) -> Self:
        made = str.__new__(cls, text)
        made._runs = runs
        return made

    @property
    def _source(self) -> Source:
        """The one source of all characters, or NOBODY's."""
        sources = {source for _, source in self._runs}
        return sources.pop() if len(sources) == 1 else NOBODY

    # `str(x)` in compiled templates must not lose the sources.
    def __str__(self) -> str:
        return self

    def __add__(self, other: str) -> "Traced":
        return join_traced((self, other)) if isinstance(other, str) else NotImplemented

    def __radd__(self, other: str) -> "Traced":
        return join_traced((other, self)) if isinstance(other, str) else NotImplemented

    def __mul__(self, count: SupportsIndex) -> "Traced":
        return join_traced([self] * int(count))

    __rmul__ = __mul__

    def __iter__(self) -> Iterator[str]:
        return (self[i] for i in range(len(self)))

    def __getitem__(self, key: SupportsIndex | slice) -> "Traced":
        text = str.__getitem__(self, key)
        if isinstance(key, slice):
            start, stop, step = key.indices(len(self))
            if step != 1:
                return join_traced([self[i] for i in range(start, stop, step)])
            return Traced._made(text, cut_runs(self._runs, start, max(start, stop)))
        start = int(key) % len(self)
        return Traced._made(text, cut_runs(self._runs, start, start + 1))

    def lstrip(self, chars: str | None = None) -> "Traced":
        return self[len(self) - len(str.lstrip(self, chars)) :]

    def rstrip(self, chars: str | None = None) -> "Traced":
        return self[: len(str.rstrip(self, chars))]

    def strip(self, chars: str | None = None) -> "Traced":
        return self.lstrip(chars).rstrip(chars)

    def removeprefix(self, prefix: str, /) -> "Traced":
        return self[len(prefix) :] if self.startswith(prefix) else self

    def removesuffix(self, suffix: str, /) -> "Traced":
        return self[: len(self) - len(suffix)] if suffix and self.endswith(suffix) else self

    def split(self, sep: str | None = None, maxsplit: SupportsIndex = -1) -> list[str]:
        return self._located(str.split(self, sep, maxsplit), sep)

    def rsplit(self, sep: str | None = None, maxsplit: SupportsIndex = -1) -> list[str]:
        return self._located(str.rsplit(self, sep, maxsplit), sep)

    def splitlines(self, keepends: bool = False) -> list[str]:
        whole = str.splitlines(self, keepends=True)
        bare = str.splitlines(self, keepends=keepends)
        starts = [sum(map(len, whole[:i])) for i in range(len(whole))]
        return [self[start : start + len(part)] for start, part in zip(starts, bare, strict=True)]

    def partition(self, sep: str, /) -> tuple[str, str, str]:
        head, found, _ = str.partition(self, sep)
        return self[: len(head)], self[len(head) : len(head) + len(found)], self[len(head) + len(found) :]

    def rpartition(self, sep: str, /) -> tuple[str, str, str]:
        head, found, _ = str.rpartition(self, sep)
        return self[: len(head)], self[len(head) : len(head) + len(found)], self[len(head) + len(found) :]

    def replace(self, old: str, new: str, /, count: SupportsIndex = -1) -> "Traced":
        if not old:
            return Traced.of(str.replace(self, old, new, count), NOBODY)
        return join_traced(interleave(self.split(old, count), new))

    def join(self, parts: Iterable[str], /) -> "Traced":
        return join_traced(interleave(list(parts), self))

    def upper(self) -> "Traced":
        return self._mapped(str.upper(self))

    def lower(self) -> "Traced":
        return self._mapped(str.lower(self))

    def title(self) -> "Traced":
        return self._mapped(str.title(self))

    def capitalize(self) -> "Traced":
        return self._mapped(str.capitalize(self))

    def _mapped(self, text: str) -> "Traced":
        """`text` in place of this one, character for character where the lengths allow it."""
        return Traced._made(text, self._runs) if len(text) == len(self) else Traced.of(text, self._source)

    def _located(self, parts: list[str], sep: str | None) -> list[str]:
        """`parts` of this text, in order, cut out of it so that they keep their sources."""
        found: list[str] = []
        at = 0
        for part in parts:
            # Between parts stand separators alone, so a separator is stepped over and whitespace is looked past.
            start = at if sep is not None else self.find(part, at)
            found.append(self[start : start + len(part)])
            at = start + len(part) + len(sep or "")
        return found


def cut_runs(runs: Runs, start: int, stop: int) -> Runs:
    """The runs of the characters `start:stop`."""
    if len(runs) == 1:
        return ((stop - start, runs[0][1]),) if stop > start else ()
    kept: list[tuple[int, Source]] = []
    at = 0
    for length, source in runs:
        overlap = min(stop, at + length) - max(start, at)
        if overlap > 0:
            kept.append((overlap, source))
        at += length
    return tuple(kept)


def join_traced(parts: Iterable[Any]) -> Traced:
    """The parts after one another; what is not Traced is nobody's words."""
    texts: list[str] = []
    runs: list[tuple[int, Source]] = []
    for part in parts:
        text = part if isinstance(part, str) else str(part)
        texts.append(text)
        if isinstance(text, Traced):
            runs.extend(text._runs)
        elif text:
            runs.append((len(text), NOBODY))
    return Traced._made("".join(texts), tuple(runs))


def interleave(parts: list[str], between: str) -> list[str]:
    """`parts` with `between` between each two."""
    woven = [between] * (2 * len(parts) - 1) if parts else []
    woven[::2] = parts
    return woven


def trace(value: Any, source: Source) -> Any:
    """A plain copy of JSON-like `value` in which every string, keys included, is Traced."""
    if isinstance(value, str):
        return Traced.of(value, source)
    if isinstance(value, dict):
        return {trace(key, source): trace(item, source) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [trace(item, source) for item in value]
    return value
