"""From the files of a recipe to encoded examples, with the books balanced.

The decision: everything that can be wrong with data is found here, before a model is loaded. Each record that was read
is trained, set aside for validation or test, or dropped with a reason; else the run stops and lists what stopped it.
"""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tunesmith.data.checks import Finding
from tunesmith.data.duplicates import leaked, repeated
from tunesmith.data.example import AnyExample
from tunesmith.data.reading import Reading, read_examples
from tunesmith.data.settings import DataSettings
from tunesmith.data.split import Split, split
from tunesmith.data.survey import survey
from tunesmith.errors import DataError
from tunesmith.tokens.encode import Encoder
from tunesmith.tokens.encoded import EncodedExample
from tunesmith.tokens.findings import require_known
from tunesmith.tokens.sieve import Sieve, Sifted
from tunesmith.tokens.store import Store
from tunesmith.tokens.team import Team

SHARE = 0.05
"""Of the training file, for validation and for test each, where the recipe says nothing."""
NEAR, NEAR_AT_MOST = 0.8, 20_000
"""From which similarity on examples nearly repeat each other, and up to how many of them are compared before a run."""
SHOWN = 10
Rewrite = Callable[[Sequence[AnyExample]], Sequence[AnyExample]]
PORTION = 512
"""Examples that a process is given at once, and between two states that an interrupted encoding can go on from."""
REFUSALS = {
    "template-refuses": ("cannot be encoded", "on_bad_record"),
    "unknown-token-id": ("cannot be encoded", "on_bad_record"),
    "too-long": ("are longer than the context of {limit:,} tokens", "on_too_long"),
    "no-target": ("teach nothing", "on_no_target"),
}
"""What is said of examples that cannot be trained, and the setting that leaves them out."""


@dataclass(frozen=True, slots=True)
class Sets:
    """The encoded sets of a run.

    Each of the `read` records is in a set or counted in `dropped`: `read` = the sizes (before passages were cut into
    windows) + Σ `dropped`. Message trees alone differ: there many records make one example, or one makes many, and
    `dropped` counts records that gave none and examples that cannot be trained. `leaks` are held-out examples that
    stand in the training data, where validation or test came as files of their own. `warned` holds the first finding
    of each kind that warns and how many there are; what several records tell together is looked for where they are held
    in memory. The last `replayed` of the training examples are general text that was added to them.
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
    warned: tuple[tuple[Finding, int], ...] = ()
    replayed: int = 0

    @property
    def longest(self) -> int:
        """Tokens of the longest example of all sets."""
        return max(_longest(part) for part in (self.train, self.validation, self.test))


def _longest(part: Sequence[EncodedExample]) -> int:
    return int(part.lengths.max(initial=0)) if isinstance(part, Store) else max((len(e) for e in part), default=0)


def read_sets(
    data: DataSettings,
    encoder: Encoder,
    *,
    context: int,
    split_turns: bool = False,
    rewrite: Rewrite | None = None,
    processes: int = 1,
) -> Sets:
    """Everything that a run needs of its data; `split_turns` splits conversations whose turns the template rewrites.

    `rewrite` gives the training examples another form before they are encoded, one for one; `processes` encode.

    Raises:
        DataError: something stops the run; the message lists what, where and how to go on.
    """
    books = Books(data, encoder, context, split_turns)
    reading = books.read("data.train", data.train)
    near = NEAR if len(reading.examples) <= NEAR_AT_MOST else None
    in_all = [*repeated(reading.examples, near), *survey(reading.examples, personal=False)[1]]
    books.warn(in_all, Counter(finding.name for finding in in_all))
    share, files = shares(data)
    parts = split(reading.examples, validation=share["validation"], test=share["test"])
    given = {name: books.read(f"data.{name}", file).examples for name, file in files.items()}
    leaks = [leak for examples in given.values() for leak in leaked(parts.train, examples)]
    raw = Split(parts.train, given.get("validation", parts.validation), given.get("test", parts.test))
    with Team(books.sieve, processes) as team:
        train = books.encode(rewrite(raw.train) if rewrite is not None else raw.train, team)
        validation = books.encode(raw.validation, team)
        test = books.encode(raw.test, team)
    books.close()
    require_enough(data, len(train))
    return Sets(
        train, validation, test, books.total, dict(books.dropped), reading.format, books.sha256, dict(books.findings),
        tuple(leaks), tuple(books.warned.values()),
    )  # fmt: skip


def require_enough(data: DataSettings, count: int) -> None:
    """Return only if a run may start with so many training examples.

    Raises:
        DataError: they are fewer than `data.minimum`.
    """
    if count < data.minimum and not (count and "too-few" in data.allow):
        raise DataError(
            f"{_named(data.train)}: {count} training examples, but a run starts with {data.minimum} or more "
            f"(gains are usually seen from 50 to 100 on). Add examples, or set data.minimum={max(count, 1)}."
        )


def shares(data: DataSettings) -> tuple[dict[str, float], dict[str, str]]:
    """How much of the training file each other set takes, and which sets are files of their own.

    A validation file says that the split has been made, so no test set is cut from training beside it. A test file says
    so of the test set alone: without validation nothing would choose the best checkpoint, so it is still set aside.
    """
    asked = {"validation": data.validation, "test": data.test}
    files = {name: value for name, value in asked.items() if isinstance(value, str)}
    default = {"validation": SHARE, "test": 0.0 if "validation" in files else SHARE}
    found = {}
    for name, value in asked.items():
        found[name] = 0.0 if isinstance(value, str) else default[name] if value is None else float(value)
    return found, files


class Books:
    """Reads and encodes one set after the other, and remembers what was dropped and what stops the run."""

    def __init__(self, data: DataSettings, encoder: Encoder, context: int, split_turns: bool) -> None:
        self._data = data
        self.sieve = Sieve(encoder, min(encoder.max_length or context, context), split_turns)
        self.total = 0
        self.dropped: Counter[str] = Counter()
        self.findings: Counter[str] = Counter()
        self.sha256: dict[str, str] = {}
        self.warned: dict[str, tuple[Finding, int]] = {}
        self._refused: dict[str, list[str]] = {}
        require_known(data.allow)

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
        d = self._data
        reading.refuse(on_bad_record=d.on_bad_record, on_no_target=d.on_no_target, allow=d.allow)
        self.warn(reading.findings, reading.totals)
        self.total += reading.read
        self.dropped.update(reading.dropped)
        self.findings.update(reading.totals)
        self.sha256[name] = reading.sha256

    def state(self) -> dict[str, Any]:
        """What has been counted so far, for JSON."""
        return {"dropped": dict(self.dropped), "refused": self._refused}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on from a state."""
        self.dropped = Counter(state["dropped"])
        self._refused = dict(state["refused"])

    def warn(self, findings: Sequence[Finding], totals: Mapping[str, int]) -> None:
        """Keep the first finding of each kind that warns and how many there are, to be told before training."""
        for finding in reversed(findings):
            if finding.level == "warn" and finding.name not in self._data.allow:
                self.warned[finding.name] = (finding, totals[finding.name])

    def encode(self, examples: Sequence[AnyExample], team: Team) -> tuple[EncodedExample, ...]:
        """The examples that can be trained."""
        portions = (examples[start : start + PORTION] for start in range(0, len(examples), PORTION))
        return tuple(one for sifted in team.sift(portions) for parts in self.take(sifted) for one in parts)

    def take(self, sifted: Sifted) -> list[list[EncodedExample]]:
        """What can be trained of each example, after the others have been booked."""
        for name, what in sifted.refused:
            self._drop(name, what)
        return sifted.parts

    def _drop(self, name: str, what: str) -> None:
        self.dropped[name] += 1
        places = self._refused.setdefault(name, [])
        if len(places) < SHOWN:
            places.append(what)

    def close(self) -> None:
        """Refuse what the recipe does not say to drop."""
        d = self._data
        answers = {"on_bad_record": d.on_bad_record, "on_no_target": d.on_no_target, "on_too_long": d.on_too_long}
        problems = [
            self._listed(name, what.format(limit=self.sieve.limit), setting)
            for name, (what, setting) in REFUSALS.items()
            if name in self._refused and answers[setting] == "stop" and name not in d.allow
        ]
        if problems:
            raise DataError("\n".join(problems))

    def _listed(self, name: str, what: str, setting: str) -> str:
        count, places = self.dropped[name], self._refused[name]
        shown = "".join(f"\n  {place}" for place in places)
        more = f"\n  … and {count - len(places)} more" if count > len(places) else ""
        way_out = f"data.{setting}=drop or data.allow='[{name}]'"
        return f"{count} examples {what}:{shown}{more}\nCorrect them, or go on without them: {way_out}."


def _named(source: str | tuple[str, ...]) -> str:
    return source if isinstance(source, str) else ", ".join(source)
