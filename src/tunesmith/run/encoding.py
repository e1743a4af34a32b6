"""The sets of a run whose data are large: encoded once, on disk, in memory that does not grow with them.

The decision: a cache is named after everything that its content follows from (the bytes of the data, the tokenizer and
template, every setting that says how they are read and what is dropped, and this code's version), so a stale one cannot
be used. The files are read once: all of it is encoded in one place, and a set is a list of places there, because the
split is known only when every prompt has been seen. What a killed process had encoded is kept, and the next one goes on
from there. The numbers are those of data held in memory.
"""

import hashlib
import os
import shutil
from array import array
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import orjson
from filelock import FileLock
from numpy.typing import NDArray

from tunesmith.data.checks import Finding, Findings, find, stopping
from tunesmith.data.example import AnyExample, Origin
from tunesmith.data.files import find_files, fingerprint
from tunesmith.data.reading import Balance, Reading, stream_examples
from tunesmith.data.settings import DataSettings
from tunesmith.data.split import SIDES, assign_packed, prompt_key
from tunesmith.errors import DataError, RecipeError
from tunesmith.models.cache import flush, home
from tunesmith.run.examples import PORTION, Books, Rewrite, Sets, read_sets, require_enough, shares
from tunesmith.tokens.encode import Encoder
from tunesmith.tokens.sieve import Sifted
from tunesmith.tokens.store import Store, StoreWriter, write_places
from tunesmith.tokens.team import Team

KEPT, LARGE = 2**20, 64 * 2**20
"""From so many bytes on, what was encoded is kept for the next run; and is encoded on disk, not in memory."""
SHARED = 4 * 2**20
"""From so many bytes on, another process has started before one alone would be done."""
_VERSION = "4"
_DONE, _STATE, _ALL, _OWNERS, _PLACES = "sets.json", "state.json", "examples", "owners", "{}.places"

_OWNER = "<i8"
_KEY = 16
"""Bytes of a key that are kept: enough that two prompts never share them by chance."""


def encoded_sets(
    data: DataSettings,
    encoder: Encoder,
    *,
    context: int,
    split_turns: bool = False,
    tell: Callable[[int], object] = lambda done: None,
    rewrite: Rewrite | None = None,
    processes: int = 1,
) -> Sets:
    """`read_sets` of small data; of large ones the same sets from the cache, made if they are not there.

    Of large data, held-out prompts that are trained are looked for exactly, not nearly. `tell` is given the number of
    examples that have been encoded, now and then. At most so many `processes` encode, where it is worth starting them;
    the sets are the same.

    Raises:
        DataError: as `read_sets`.
    """
    sources = {"train": data.train, **shares(data)[1]}
    paths = {name: _paths(source) for name, source in sources.items()}
    size = sum(path.stat().st_size for found in paths.values() for path in found)
    processes = processes if size >= SHARED else 1
    how: Any = {"context": context, "split_turns": split_turns, "rewrite": rewrite, "processes": processes}
    if size < KEPT or (size < LARGE and rewrite is not None):
        return read_sets(data, encoder, **how)
    if rewrite is not None:
        raise RecipeError(f"keeping.rewrite: is for data that fit in memory (below {LARGE >> 20} MiB).")
    sums = {name: fingerprint(found) for name, found in paths.items()}
    parts = (
        _VERSION, encoder.fingerprint, data.model_dump_json(exclude={"minimum"}), str(encoder.max_length),
        str(context), str(split_turns), repr(sums),
    )  # fmt: skip
    folder = home() / "encoded" / hashlib.sha256("\0".join(parts).encode()).hexdigest()[:32]
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(folder.with_suffix(".lock")):
            if not (folder / _DONE).is_file() and size < LARGE:
                _keep(read_sets(data, encoder, **how), folder)
            elif not (folder / _DONE).is_file():
                books = Books(data, encoder, context, split_turns)
                with Team(books.sieve, processes) as team:
                    _Encoding(data, books, sums, folder, team).run(tell)
    except OSError:
        if size >= LARGE:
            raise
        return read_sets(data, encoder, **how)  # what fits in memory needs no home that has room and may be written
    done = orjson.loads((folder / _DONE).read_bytes())
    leaks = tuple(map(_finding, done.pop("leaks")))
    warned = tuple((_finding(found), count) for found, count in done.pop("warned"))
    train, validation, test = (Store(folder / _ALL, folder / _PLACES.format(side)) for side in SIDES)
    sets = Sets(train, validation, test, leaks=leaks, warned=warned, **done)
    require_enough(data, len(sets.train))
    return sets


def _keep(sets: Sets, folder: Path) -> None:
    """Write sets that are held in memory as `_Encoding` leaves them."""
    unfinished = folder.with_name(f".{folder.name}.partial")
    at = 0
    with StoreWriter(unfinished / _ALL) as writer:
        writer.cut(None)
        for side in SIDES:
            examples = getattr(sets, side)
            writer.add(examples)
            write_places(unfinished / _PLACES.format(side), np.arange(at, at + len(examples)))
            at += len(examples)
        writer.state()
    done = {
        "read": sets.read, "dropped": dict(sets.dropped), "format": sets.format, "sha256": dict(sets.sha256),
        "findings": dict(sets.findings), "leaks": sets.leaks, "warned": sets.warned,
    }  # fmt: skip
    _finish(done, unfinished, folder)


def _finding(told: dict[str, Any]) -> Finding:
    other = told.pop("other")
    return Finding(**told, other=other and Origin(**other))


def _finish(done: dict[str, Any], unfinished: Path, folder: Path) -> None:
    """Give a filled folder its name."""
    (unfinished / _DONE).write_bytes(orjson.dumps(done))
    flush(unfinished)
    os.replace(unfinished, folder)


def _paths(source: str | tuple[str, ...]) -> list[Path]:
    return [path for part in ([source] if isinstance(source, str) else source) for path in find_files(part)[0]]


class _Keys:
    """The keys of the prompts of a set and where its examples stand: 28 bytes for each."""

    def __init__(self) -> None:
        self._raw = bytearray()
        self._lines, self._files = array("q"), array("I")
        self._names: dict[str, int] = {}
        self._named: list[str] = []

    def __len__(self) -> int:
        return len(self._lines)

    def add(self, example: AnyExample) -> None:
        self._raw += prompt_key(example)[:_KEY]
        self._lines.append(example.origin.line)
        number = self._names.setdefault(example.origin.file, len(self._names))
        if number == len(self._named):
            self._named.append(example.origin.file)
        self._files.append(number)

    def packed(self) -> NDArray[np.uint64]:
        return np.frombuffer(self._raw, dtype=">u8").reshape(-1, _KEY // 8)

    def key(self, number: int) -> bytes:
        return bytes(self._raw[number * _KEY : (number + 1) * _KEY])

    def origin(self, number: int) -> Origin:
        return Origin(self._named[self._files[number]], self._lines[number])


def _leaks(trained: _Keys, sides: NDArray[np.uint8], held_out: _Keys) -> list[Finding]:
    """The held-out examples whose prompt is trained: what is said of each, and where it stands."""
    asked = {held_out.key(i) for i in range(len(held_out))}
    first: dict[bytes, int] = {}
    for i in np.flatnonzero(sides == SIDES.index("train")).tolist():
        if (key := trained.key(i)) in asked:
            first.setdefault(key, i)
    found = ((first.get(held_out.key(i)), held_out.origin(i)) for i in range(len(held_out)))
    return [find("leak", f"its prompt is trained: {trained.origin(i)}.", o) for i, o in found if i is not None]


class _Encoding:
    """Fills a folder with the three sets of a run."""

    def __init__(self, data: DataSettings, books: Books, sums: dict[str, str], folder: Path, team: Team) -> None:
        self._data, self._books, self._sums, self._team = data, books, sums, team
        self._folder = folder
        self._partial = folder.with_name(f".{folder.name}.partial")
        self._seen = self._done = 0
        self._refused = False

    def run(self, tell: Callable[[int], object]) -> None:
        """Encode what has not been encoded yet, and give the folder its name."""
        share, files = shares(self._data)
        try:
            with StoreWriter(self._partial / _ALL) as writer, (self._partial / _OWNERS).open("ab") as owners:
                self._go_on(writer, owners)
                read = {
                    name: self._encode(name, source, lambda sifted: self._append(sifted, writer, owners, tell))
                    for name, source in {"train": self._data.train, **files}.items()
                }
            for name, (reading, _) in read.items():
                self._books.enter(f"data.{name}", reading)
            self._books.close()
        except DataError:
            shutil.rmtree(self._partial, ignore_errors=True)
            raise
        trained = read["train"][1]
        sides = assign_packed(trained.packed(), validation=share["validation"], test=share["test"])
        leaks: list[Finding] = []
        for name in files:
            held_out = read[name][1]
            leaks += _leaks(trained, sides, held_out)
            sides = np.append(sides, np.full(len(held_out), SIDES.index(name), dtype=np.uint8))
        self._write_places(sides)
        books = self._books
        done = {
            "read": books.total, "dropped": dict(books.dropped), "format": read["train"][0].format,
            "sha256": books.sha256, "findings": dict(books.findings), "leaks": leaks,
            "warned": tuple(books.warned.values()),
        }  # fmt: skip
        _finish(done, self._partial, self._folder)

    def _encode(
        self, name: str, source: str | tuple[str, ...], append: Callable[[Sifted], object]
    ) -> tuple[Reading, _Keys]:
        """What a set holds, and the keys of its prompts; what its examples become is given to `append` on the way."""
        balance, findings, keys = Balance(), Findings(), _Keys()
        for sifted in self._team.sift(self._portions(source, balance, findings, keys)):
            append(sifted)
        reading = Reading(
            (), tuple(findings.kept), "+".join(balance.formats), balance.read, dict(balance.dropped), self._sums[name],
            dict(findings.totals),
        )  # fmt: skip
        return reading, keys

    def _portions(
        self, source: str | tuple[str, ...], balance: Balance, findings: Findings, keys: _Keys
    ) -> Iterator[list[AnyExample]]:
        """The examples that have to be encoded: none that an interrupted encoding did, none when the run will stop."""
        d = self._data
        portion: list[AnyExample] = []
        for item in stream_examples(source, balance, format=d.format, fields=d.fields, system=d.system):
            if isinstance(item, Finding):
                findings.add(item)
                # What stops the run anyway is not encoded, only read to its end to tell all that does.
                self._refused = self._refused or bool(
                    stopping([item], on_bad_record=d.on_bad_record, on_no_target=d.on_no_target, allow=d.allow)
                )
                continue
            keys.add(item)
            self._seen += 1
            if self._seen > self._done and not self._refused:
                portion.append(item)
            if len(portion) == PORTION:
                yield portion
                portion = []
        if portion and not self._refused:
            yield portion

    def _append(self, sifted: Sifted, writer: StoreWriter, owners: BinaryIO, tell: Callable[[int], object]) -> None:
        """Append what a portion became, and remember how far it came."""
        encoded = self._books.take(sifted)
        writer.add([one for parts in encoded for one in parts])
        first, self._done = self._done, self._done + len(encoded)
        owners.write(np.repeat(np.arange(first, self._done, dtype=_OWNER), list(map(len, encoded))).tobytes())
        owners.flush()
        state = {"at": self._done, "books": self._books.state(), "store": writer.state(), "owners": owners.tell()}
        fresh = self._partial / f"{_STATE}.new"
        fresh.write_bytes(orjson.dumps(state))
        os.replace(fresh, self._partial / _STATE)
        tell(self._done)

    def _go_on(self, writer: StoreWriter, owners: BinaryIO) -> None:
        try:
            state = orjson.loads((self._partial / _STATE).read_bytes())
        except (FileNotFoundError, orjson.JSONDecodeError):
            state = None
        writer.cut(None if state is None else state["store"])
        owners.truncate(0 if state is None else state["owners"])
        owners.seek(0, os.SEEK_END)
        writer.state()
        if state is not None:
            self._books.restore(state["books"])
            self._done = int(state["at"])

    def _write_places(self, sides: NDArray[np.uint8]) -> None:
        """The places of each set's examples, which stand where the records that they were made of do."""
        side_of = sides[np.fromfile(self._partial / _OWNERS, dtype=_OWNER)]
        for number, side in enumerate(SIDES):
            write_places(self._partial / _PLACES.format(side), np.flatnonzero(side_of == number))
        (self._partial / _OWNERS).unlink()
