"""From the files of a recipe to encoded examples, with the books balanced.

The decision: everything that can be wrong with data is found here, before a model is loaded. Each record that was read
is trained, set aside for validation or test, or dropped with a reason; else the run stops and lists what stopped it.
"""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tunesmith.data.checks import Finding
from tunesmith.data.duplicates import leaked
from tunesmith.data.example import AnyExample, Example, Passage, Tokenized
from tunesmith.data.reading import Reading, read_examples
from tunesmith.data.settings import DataSettings
from tunesmith.data.split import Split, split
from tunesmith.errors import DataError, TemplateError
from tunesmith.tokens.encode import Encoder
from tunesmith.tokens.encoded import EncodedExample
from tunesmith.tokens.store import Store

SHARE = 0.05
"""Of the training file, for validation and for test each, where the recipe says nothing."""
SHOWN = 10
Rewrite = Callable[[Sequence[AnyExample]], Sequence[AnyExample]]
CHUNK = 256


@dataclass(frozen=True, slots=True)
class Sets:
    """The encoded sets of a run.

    Each of the `read` records is in a set or counted in `dropped`: `read` = the sizes (before passages were cut into
    windows) + Σ `dropped`. Message trees alone differ: there many records make one example, or one makes many, and
    `dropped` counts records that gave none and examples that cannot be trained. `leaks` are held-out examples that
    stand in the training data, where validation or test came as files of their own. The last `replayed` of the training
    examples are general text that was added to them.
    """

    train: Sequence[EncodedExample]
    validation: Sequence[EncodedExample]
    test: Sequence[EncodedExample]
    read: int
    dropped: Mapping[str, int]
    format: str
    sha256: Mapping[str, str]
    findings: Mapping[str, int]
    leaks: tuple[Finding, ...] = ()
    replayed: int = 0

    @property
    def longest(self) -> int:
        """Tokens of the longest example of all sets."""
        return max(_longest(part) for part in (self.train, self.validation, self.test))


def _longest(part: Sequence[EncodedExample]) -> int:
    return int(part.lengths.max(initial=0)) if isinstance(part, Store) else max((len(e) for e in part), default=0)


def read_sets(
    data: DataSettings, encoder: Encoder, *, context: int, split_turns: bool = False, rewrite: Rewrite | None = None
) -> Sets:
    """Everything that a run needs of its data; `split_turns` splits conversations whose turns the template rewrites.

    `rewrite` gives the training examples another form before they are encoded, one for one.

    Raises:
        DataError: something stops the run; the message lists what, where and how to go on.
    """
    books = Books(data, encoder, context, split_turns)
    reading = books.read("data.train", data.train)
    share, files = shares(data)
    parts = split(reading.examples, validation=share["validation"], test=share["test"])
    given = {name: books.read(f"data.{name}", file).examples for name, file in files.items()}
    leaks = [leak for examples in given.values() for leak in leaked(parts.train, examples)]
    raw = Split(parts.train, given.get("validation", parts.validation), given.get("test", parts.test))
    train = books.encode(rewrite(raw.train) if rewrite is not None else raw.train)
    validation = books.encode(raw.validation)
    test = books.encode(raw.test)
    books.close()
    require_enough(data, len(train))
    return Sets(
        train, validation, test, books.total, dict(books.dropped), reading.format, books.sha256, dict(books.findings),
        tuple(leaks),
    )  # fmt: skip


def require_enough(data: DataSettings, count: int) -> None:
    """Return only if a run may start with so many training examples.

    Raises:
        DataError: they are fewer than `data.minimum`.
    """
    if count < data.minimum:
        raise DataError(
            f"{_named(data.train)}: {count} training examples, but a run starts with {data.minimum} or more "
            f"(gains are usually seen from 50 to 100 on). Add examples, or set data.minimum={max(count, 1)}."
        )


def shares(data: DataSettings) -> tuple[dict[str, float], dict[str, str]]:
    """How much of the training file each other set takes, and which sets are files of their own.

    Naming one of the two sets as a file says that the split has been made; the other is then not cut from training.
    """
    asked = {"validation": data.validation, "test": data.test}
    files = {name: value for name, value in asked.items() if isinstance(value, str)}
    default = 0.0 if files else SHARE
    found = {}
    for name, value in asked.items():
        found[name] = 0.0 if isinstance(value, str) else default if value is None else float(value)
    return found, files


class Books:
    """Reads and encodes one set after the other, and remembers what was dropped and what stops the run."""

    def __init__(self, data: DataSettings, encoder: Encoder, context: int, split_turns: bool) -> None:
        self._data, self._encoder, self._split_turns = data, encoder, split_turns
        self._limit = min(encoder.max_length or context, context)
        self.total = 0
        self.dropped: Counter[str] = Counter()
        self.findings: Counter[str] = Counter()
        self.sha256: dict[str, str] = {}
        self._refused: list[str] = []
        self._long: list[str] = []
        self._mute: list[str] = []

    def read(self, name: str, source: str | tuple[str, ...]) -> Reading:
        d = self._data
        reading = read_examples(source, format=d.format, fields=d.fields, system=d.system)
        self.enter(name, reading)
        return reading

    def enter(self, name: str, reading: Reading) -> None:
        """Count what a set holds.

        Raises:
            DataError: something in it stops the run.
        """
        reading.refuse(on_bad_record=self._data.on_bad_record, on_no_target=self._data.on_no_target)
        self.total += reading.read
        self.dropped.update(reading.dropped)
        self.findings.update(reading.totals)
        self.sha256[name] = reading.sha256

    def state(self) -> dict[str, Any]:
        """What has been counted so far, for JSON."""
        return {"dropped": dict(self.dropped), "lists": [self._refused, self._long, self._mute]}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on from a state."""
        self.dropped = Counter(state["dropped"])
        self._refused, self._long, self._mute = (list(places) for places in state["lists"])

    def encode(self, examples: Sequence[AnyExample]) -> tuple[EncodedExample, ...]:
        """The examples that can be trained."""
        encoded: list[EncodedExample] = []
        for start in range(0, len(examples), CHUNK):
            for parts in self._encoded(examples[start : start + CHUNK]):
                encoded += [part for part in parts if self._usable(part)]
        return tuple(encoded)

    def _encoded(self, chunk: Sequence[AnyExample]) -> list[list[EncodedExample]]:
        if all(isinstance(e, Example) for e in chunk):
            try:
                return [[e] for e in self._encoder.encode_many([e for e in chunk if isinstance(e, Example)])]
            except TemplateError:
                pass  # one of them is refused: find out which, one by one
        return [self._one(e) for e in chunk]

    def _one(self, example: AnyExample) -> list[EncodedExample]:
        if isinstance(example, Passage):
            windows = self._encoder.passages(example, self._limit)
            if not windows:
                self.dropped["empty-text"] += 1
            return windows
        if isinstance(example, Tokenized):
            return self._ready(example)
        try:
            return self._encoder.encode_split(example) if self._split_turns else [self._encoder.encode(example)]
        except TemplateError as refusal:
            self.dropped["template-refuses"] += 1
            self._refused.append(str(refusal))
            return []

    def _ready(self, row: Tokenized) -> list[EncodedExample]:
        try:
            return [self._encoder.tokenized(row)]
        except TemplateError as refusal:
            self.dropped["unknown-token-id"] += 1
            self._refused.append(str(refusal))
            return []

    def _usable(self, encoded: EncodedExample) -> bool:
        if len(encoded) > self._limit:
            self.dropped["too-long"] += 1
            self._long.append(f"{encoded.origin} ({len(encoded):,} tokens)")
            return False
        if not encoded.target_weight > 0:
            self.dropped["no-target"] += 1
            self._mute.append(str(encoded.origin))
            return False
        return True

    def close(self) -> None:
        """Refuse what the recipe does not say to drop."""
        d, problems = self._data, []
        if self._refused and d.on_bad_record == "stop":
            problems.append(_listed(f"{len(self._refused)} examples cannot be encoded", self._refused, "on_bad_record"))
        if self._long and d.on_too_long == "stop":
            what = f"{len(self._long)} examples are longer than the context of {self._limit:,} tokens"
            problems.append(_listed(what, self._long, "on_too_long"))
        if self._mute and d.on_no_target == "stop":
            problems.append(_listed(f"{len(self._mute)} examples teach nothing", self._mute, "on_no_target"))
        if problems:
            raise DataError("\n".join(problems))


def _listed(what: str, where: Sequence[str], setting: str) -> str:
    shown = "".join(f"\n  {place}" for place in where[:SHOWN])
    more = f"\n  … and {len(where) - SHOWN} more" if len(where) > SHOWN else ""
    return f"{what}:{shown}{more}\nCorrect them, or go on without them: data.{setting}=drop."


def _named(source: str | tuple[str, ...]) -> str:
    return source if isinstance(source, str) else ", ".join(source)
