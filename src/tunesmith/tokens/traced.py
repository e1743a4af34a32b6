"""Traced: text that remembers, character by character, whose words it is.

The decision: authorship is observed while the template runs, never guessed from the finished text. Every string that
enters a template (the messages', the tools', the template's own literals) is a `Traced`, a `str` that carries its
sources through concatenation, slicing, stripping, splitting and replacing. What a template makes in any other way comes
out as `UNKNOWN`: nobody's words, so never a control token.

A message's words also tell when a template looks at them (compares them, asks for their length): see `watching`. Two
conversations in which it sees the same are written by the same steps.
"""

import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, NamedTuple, SupportsIndex

TEMPLATE, TOOLS, UNKNOWN = -1, -2, -3
OUTSIDE = -1


class Words(NamedTuple):
    """A field of a message (`content`), trimmed by the steps: (`strip`, `lstrip` or `rstrip`; the characters)."""

    name: str
    trims: tuple[tuple[str, str | None], ...] = ()

    def of(self, value: str) -> str:
        """These words of a message whose field reads `value`."""
        for method, chars in self.trims:
            value = getattr(value, method)(chars)
        return value


class Source(NamedTuple):
    """Where characters come from.

    `author` is the index of a message, or TEMPLATE, TOOLS, UNKNOWN. `turn` is the index of the message whose loop body
    was running when the template made them, or else when it wrote them (OUTSIDE: none was). `marked` tells that a
    `{% generation %}` block held them. `words` names what the whole run is, where it is still all of something.
    """

    author: int
    turn: int = OUTSIDE
    marked: bool = False
    words: Words | None = None


Runs = tuple[tuple[int, Source], ...]
NOBODY = Source(UNKNOWN)


class Traced(str):
    """A string with the sources of its characters: runs of (length, Source) that add up to its length."""

    __slots__ = ("_runs",)
    _runs: Runs

    @classmethod
    def of(cls, text: str, source: Source) -> "Traced":
        """`text` with one source for all of it."""
        length = str.__len__(text)
        return cls._made(text, ((length, source),) if length else ())

    @classmethod
    def _made(cls, text: str, runs: Runs) -> "Traced":
        made = str.__new__(_Watched if any(source.author >= 0 for _, source in runs) else Traced, text)
        made._runs = runs
        return made

    @property
    def _source(self) -> Source:
        """The one source of all characters, or NOBODY's; for what is made of this text and is no longer the whole."""
        sources = {source._replace(words=None) for _, source in self._runs}
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
        if len(text) != str.__len__(self):
            return Traced.of(text, self._source)
        return Traced._made(text, tuple((length, source._replace(words=None)) for length, source in self._runs))

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


class Look(NamedTuple):
    """Something that a template asked about a message's words, and the answer it got."""

    author: int
    words: Words
    question: str
    argument: Any
    answer: bool


@dataclass(slots=True)
class Notebook:
    """What a template saw of the messages' words while it ran: the looks, and whether it saw more than they tell."""

    looks: list[Look] = field(default_factory=list)
    saw_more: bool = False


QUESTIONS: dict[str, Callable[[str, Any], bool]] = {
    "bool": lambda text, _: text != "",
    "__contains__": lambda text, part: part in text,
    "startswith": lambda text, part: text.startswith(part),
    "endswith": lambda text, part: text.endswith(part),
    "__eq__": lambda text, other: text == other,
    "__ne__": lambda text, other: text != other,
}
"""What may be asked about words and answered again for other words."""

_open = threading.local()


@contextmanager
def watching() -> Iterator[Notebook]:
    """A notebook in which everything that templates see of messages' words on this thread is noted."""
    _open.notebook = Notebook()
    try:
        yield _open.notebook
    finally:
        _open.notebook = None


def is_watched() -> bool:
    """Whether somebody on this thread keeps a notebook."""
    return getattr(_open, "notebook", None) is not None


def note(looks: Iterable[Look], *, more: bool) -> None:
    """What a template has seen elsewhere stands in this thread's notebook, as if it had been seen here."""
    for look in looks:
        _note(look)
    if more:
        _note_more()


class _Watched(Traced):
    """Text with words of messages in it: what looks at it is noted."""

    __slots__ = ()

    def __bool__(self) -> bool:
        return _asked(self, "bool", None)

    def strip(self, chars: str | None = None) -> Traced:
        return self._trimmed("strip", chars)

    def lstrip(self, chars: str | None = None) -> Traced:
        return self._trimmed("lstrip", chars)

    def rstrip(self, chars: str | None = None) -> Traced:
        return self._trimmed("rstrip", chars)

    def _trimmed(self, method: str, chars: str | None) -> Traced:
        """Trimmed text; words that are whole stay so, and it is noted whether anything is left of them."""
        whole = _whole(self)
        if whole is None:
            _note_more()
            return getattr(Traced, method)(Traced._made(self, self._runs), chars)  # type: ignore[no-any-return]
        words = Words(whole.words.name, (*whole.words.trims, (method, chars)))  # type: ignore[union-attr]
        text = getattr(str, method)(self, chars)
        _note(Look(whole.author, words, "bool", None, bool(text)))
        return Traced.of(text, whole._replace(words=words))


def _whole(text: Traced) -> Source | None:
    """The source of a text that is all of some words; None for any other."""
    return text._runs[0][1] if len(text._runs) == 1 and text._runs[0][1].words is not None else None


def _note(look: Look) -> None:
    if (notebook := getattr(_open, "notebook", None)) is not None:
        notebook.looks.append(look)


def _note_more() -> None:
    if (notebook := getattr(_open, "notebook", None)) is not None:
        notebook.saw_more = True


def _asked(text: Traced, question: str, argument: Any) -> bool:
    whole = _whole(text)
    plain, of = "".join((text, "")), argument
    if isinstance(argument, str):
        of = "".join((argument, ""))
    answer = QUESTIONS[question](plain, of)
    if whole is None or whole.words is None or isinstance(argument, _Watched):
        _note_more()
    else:
        _note(Look(whole.author, whole.words, question, of, answer))
    return answer


def _seen(name: str) -> Callable[..., Any]:
    """The method of that name, noting that it has seen more of the text than can be answered again."""
    method = getattr(Traced, name)

    def seeing(self: Traced, *args: Any, **named: Any) -> Any:
        _note_more()
        return method(self, *args, **named)

    return seeing


def _question(name: str) -> Callable[..., Any]:
    method = getattr(Traced, name)

    def asking(self: Traced, *args: Any) -> Any:
        if len(args) == 1 and isinstance(args[0], str):
            return _asked(self, name, args[0])
        _note_more()
        return method(self, *args)

    return asking


_UNSEEING = {"join", "maketrans", "strip", "lstrip", "rstrip", "__add__", "__radd__", "__str__", "__bool__", "of"}
_SEEING = {"__len__", "__getitem__", "__iter__", "__lt__", "__le__", "__gt__", "__ge__", "__mod__", "__rmod__",
           "__mul__", "__rmul__", "__format__", "__hash__"}  # fmt: skip
for _name in (_SEEING | {n for n in dir(str) if not n.startswith("_")}) - _UNSEEING - set(QUESTIONS):
    setattr(_Watched, _name, _seen(_name))
for _name in set(QUESTIONS) - {"bool"}:
    setattr(_Watched, _name, _question(_name))


def cut_runs(runs: Runs, start: int, stop: int) -> Runs:
    """The runs of the characters `start:stop`."""
    kept: list[tuple[int, Source]] = []
    at = 0
    for length, source in runs:
        overlap = min(stop, at + length) - max(start, at)
        if overlap > 0:
            kept.append((overlap, source if overlap == length else source._replace(words=None)))
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
