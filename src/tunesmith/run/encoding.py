"""The sets of a run whose data are large: encoded once, on disk, in memory that does not grow with them.

The decision: a cache is named after everything that its content follows from (the bytes of the data, the tokenizer and
template, every setting that says how they are read and what is dropped, and this code's version), so a stale one cannot
be used. The files are read twice: for the keys that decide the split, and to encode. What a killed process had encoded
is kept, and the next one goes on from there. The numbers are those of data held in memory.
"""

import hashlib
import os
import shutil
from array import array
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import orjson
from filelock import FileLock
from numpy.typing import NDArray

from tunesmith.data.checks import Finding, Findings, find
from tunesmith.data.example import AnyExample, Origin
from tunesmith.data.files import find_files, fingerprint
from tunesmith.data.reading import Balance, Reading, stream_examples
from tunesmith.data.settings import DataSettings
from tunesmith.data.split import SIDES, assign_packed, prompt_key
from tunesmith.errors import DataError, RecipeError
from tunesmith.models.cache import flush, home
from tunesmith.run.examples import Books, Rewrite, Sets, read_sets, require_enough, shares
from tunesmith.tokens.encode import Encoder
from tunesmith.tokens.store import Store, StoreWriter

KEPT, LARGE = 2**20, 64 * 2**20
"""From so many bytes on, what was encoded is kept for the next run; and is encoded on disk, not in memory."""
PORTION = 2048
"""Examples between two states that an interrupted encoding can go on from."""
_VERSION = "3"
_DONE, _STATE = "sets.json", "state.json"

_KEY = 16
"""Bytes of a key that are kept: enough that two prompts never share them by chance."""

Tell = Callable[[int, int | None], object]


def encoded_sets(
    data: DataSettings,
    encoder: Encoder,
    *,
    context: int,
    split_turns: bool = False,
    tell: Tell = lambda done, of: None,
    rewrite: Rewrite | None = None,
) -> Sets:
    """`read_sets` of small data; of large ones the same sets from the cache, made if they are not there.

    Of large data, held-out prompts that are trained are looked for exactly, not nearly. `tell` is given how many
    examples have been read (of None), then how many of how many have been encoded.

    Raises:
        DataError: as `read_sets`.
    """
    sources = {"train": data.train, **shares(data)[1]}
    paths = {name: _paths(source) for name, source in sources.items()}
    size = sum(path.stat().st_size for found in paths.values() for path in found)
    if size < KEPT or (size < LARGE and rewrite is not None):
        return read_sets(data, encoder, context=context, split_turns=split_turns, rewrite=rewrite)
    if rewrite is not None:
        raise RecipeError(f"keeping.rewrite: is for data that fit in memory (below {LARGE >> 20} MiB).")
    sums = {name: fingerprint(found) for name, found in paths.items()}
    parts = (
        _VERSION, encoder.fingerprint, data.model_dump_json(exclude={"minimum"}), str(encoder.max_length),
        str(context), str(split_turns), repr(sums),
    )  # fmt: skip
    folder = home() / "encoded" / hashlib.sha256("\0".join(parts).encode()).hexdigest()[:32]
    folder.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(folder.with_suffix(".lock")):
        if not (folder / _DONE).is_file() and size < LARGE:
            _keep(read_sets(data, encoder, context=context, split_turns=split_turns), folder)
        elif not (folder / _DONE).is_file():
            books = Books(data, encoder, context, split_turns)
            _Encoding(data, books, sums, folder).run(tell)
    done = orjson.loads((folder / _DONE).read_bytes())
    leaks = tuple(map(_finding, done.pop("leaks")))
    warned = tuple((_finding(found), count) for found, count in done.pop("warned"))
    train, validation, test = (Store(folder / side) for side in SIDES)
    sets = Sets(train, validation, test, leaks=leaks, warned=warned, **done)
    require_enough(data, len(sets.train))
    return sets


def _keep(sets: Sets, folder: Path) -> None:
    """Write sets that are held in memory as `_Encoding` leaves them."""
    partial = folder.with_name(f".{folder.name}.partial")
    for side in SIDES:
        with StoreWriter(partial / side) as writer:
            writer.cut(None)
            writer.add(getattr(sets, side))
            writer.state()
    done = {
        "read": sets.read, "dropped": dict(sets.dropped), "format": sets.format, "sha256": dict(sets.sha256),
        "findings": dict(sets.findings), "leaks": sets.leaks, "warned": sets.warned,
    }  # fmt: skip
    _finish(done, partial, folder)


def _finding(told: dict[str, Any]) -> Finding:
    other = told.pop("other")
    return Finding(**told, other=other and Origin(**other))


def _finish(done: dict[str, Any], partial: Path, folder: Path) -> None:
    """Give a filled folder its name."""
    (partial / _DONE).write_bytes(orjson.dumps(done))
    flush(partial)
    os.replace(partial, folder)


def _paths(source: str | tuple[str, ...]) -> list[Path]:
    return [path for part in ([source] if isinstance(source, str) else source) for path in find_files(part)[0]]


class _Keys:
    """The keys of the prompts of a set and where its examples stand: 26 bytes for each."""

    def __init__(self) -> None:
        self._raw = bytearray()
        self._lines, self._files = array("q"), array("H")
        self._names: dict[str, int] = {}

    def __len__(self) -> int:
        return len(self._lines)

    def add(self, example: AnyExample) -> None:
        self._raw += prompt_key(example)[:_KEY]
        self._lines.append(example.origin.line)
        self._files.append(self._names.setdefault(example.origin.file, len(self._names)))

    def packed(self) -> NDArray[np.uint64]:
        return np.frombuffer(self._raw, dtype=">u8").reshape(-1, _KEY // 8)

    def key(self, number: int) -> bytes:
        return bytes(self._raw[number * _KEY : (number + 1) * _KEY])

    def origin(self, number: int) -> Origin:
        return Origin(list(self._names)[self._files[number]], self._lines[number])


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

    def __init__(self, data: DataSettings, books: Books, sums: dict[str, str], folder: Path) -> None:
        self._data, self._books, self._sums = data, books, sums
        self._folder = folder
        self._partial = folder.with_name(f".{folder.name}.partial")
        self._formats: str = ""

    def run(self, tell: Tell) -> None:
        """Encode what has not been encoded yet, and give the folder its name."""
        share, files = shares(self._data)
        trained = self._keys("train", self._data.train, tell)
        sides = assign_packed(trained.packed(), validation=share["validation"], test=share["test"])
        leaks: list[Finding] = []
        for name, source in files.items():
            held_out = self._keys(name, source, tell)
            leaks += _leaks(trained, sides, held_out)
            sides = np.append(sides, np.full(len(held_out), SIDES.index(name), dtype=np.uint8))
        try:
            self._encode([self._data.train, *files.values()], sides, tell)
            self._books.close()
        except DataError:
            shutil.rmtree(self._partial, ignore_errors=True)
            raise
        books = self._books
        done = {
            "read": books.total, "dropped": dict(books.dropped), "format": self._formats, "sha256": books.sha256,
            "findings": dict(books.findings), "leaks": leaks,
            "warned": list(books.warned.values()),
        }  # fmt: skip
        _finish(done, self._partial, self._folder)

    def _keys(self, name: str, source: str | tuple[str, ...], tell: Tell) -> "_Keys":
        """The keys of a set's prompts and where its examples stand; findings are counted."""
        balance, findings, keys = Balance(), Findings(), _Keys()
        for item in self._stream(source, balance):
            if isinstance(item, Finding):
                findings.add(item)
            else:
                keys.add(item)
                if len(keys) % PORTION == 0:
                    tell(len(keys), None)
        read = Reading(
            (), tuple(findings.kept), "+".join(balance.formats), balance.read, dict(balance.dropped), self._sums[name],
            dict(findings.totals),
        )  # fmt: skip
        self._books.enter(f"data.{name}", read)
        self._formats = self._formats or read.format
        return keys

    def _stream(self, source: str | tuple[str, ...], balance: Balance) -> Iterator[AnyExample | Finding]:
        d = self._data
        return stream_examples(source, balance, format=d.format, fields=d.fields, system=d.system)

    def _encode(self, sources: Sequence[str | tuple[str, ...]], sides: NDArray[np.uint8], tell: Tell) -> None:
        state = self._state()
        if state is not None:
            self._books.restore(state["books"])
        every = (e for s in sources for e in self._stream(s, Balance()) if not isinstance(e, Finding))
        at = 0 if state is None else int(state["at"])
        examples = islice(every, at, None)
        with ExitStack() as stack:
            writers = {side: stack.enter_context(StoreWriter(self._partial / side)) for side in SIDES}
            for side, writer in writers.items():
                writer.cut(None if state is None else state["stores"][side])
            while portion := list(islice(examples, PORTION)):
                side_of = sides[at : at + len(portion)].tolist()
                for number, writer in enumerate(writers.values()):
                    wanted = [e for e, side in zip(portion, side_of, strict=True) if side == number]
                    writer.add(self._books.encode(wanted))
                at += len(portion)
                self._remember(at, writers)
                tell(at, len(sides))
            self._remember(at, writers)

    def _state(self) -> dict[str, Any] | None:
        try:
            found: dict[str, Any] = orjson.loads((self._partial / _STATE).read_bytes())
        except (FileNotFoundError, orjson.JSONDecodeError):
            return None
        return found

    def _remember(self, at: int, writers: dict[str, StoreWriter]) -> None:
        stores = {side: writer.state() for side, writer in writers.items()}
        fresh = self._partial / f"{_STATE}.new"
        fresh.write_bytes(orjson.dumps({"at": at, "books": self._books.state(), "stores": stores}))
        os.replace(fresh, self._partial / _STATE)
