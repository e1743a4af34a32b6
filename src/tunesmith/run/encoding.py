"""The sets of a run whose data are large: encoded once, on disk, in memory that does not grow with them.

The decision: a cache is named after everything that its content follows from (the bytes of the data, the tokenizer and
template, every setting that says how they are read and what is dropped, and this code's version), so a stale one cannot
be used. The files are read twice: for the keys that decide the split, and to encode. What a killed process had encoded
is kept, and the next one goes on from there. The numbers are those of data held in memory.
"""

import hashlib
import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from itertools import islice
from pathlib import Path
from typing import Any

import orjson
from filelock import FileLock

from tunesmith.data.checks import Finding, Findings, find
from tunesmith.data.example import AnyExample, Origin
from tunesmith.data.files import find_files, fingerprint
from tunesmith.data.reading import Balance, Reading, stream_examples
from tunesmith.data.settings import DataSettings
from tunesmith.data.split import SIDES, assign, prompt_key
from tunesmith.errors import DataError, RecipeError
from tunesmith.models.cache import flush, home
from tunesmith.run.examples import Books, Rewrite, Sets, read_sets, require_enough, shares
from tunesmith.tokens.encode import Encoder
from tunesmith.tokens.store import Store, StoreWriter

LARGE = 64 * 2**20
"""From so many bytes on, data are encoded on disk; fewer fit in memory many times over."""
PORTION = 2048
"""Examples between two states that an interrupted encoding can go on from."""
_VERSION = "1"
_DONE, _STATE = "sets.json", "state.json"

Tell = Callable[[int, int], object]


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
    examples of how many have been encoded.

    Raises:
        DataError: as `read_sets`.
    """
    sources = {"train": data.train, **shares(data)[1]}
    paths = {name: _paths(source) for name, source in sources.items()}
    if sum(path.stat().st_size for found in paths.values() for path in found) < LARGE:
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
        if not (folder / _DONE).is_file():
            books = Books(data, encoder, context, split_turns)
            _Encoding(data, books, sums, folder).run(tell)
    done = orjson.loads((folder / _DONE).read_bytes())
    leaks = tuple(find("leak", message, Origin(*place)) for message, place in done.pop("leaks"))
    train, validation, test = (Store(folder / side) for side in SIDES)
    sets = Sets(train, validation, test, leaks=leaks, **done)
    require_enough(data, len(sets.train))
    return sets


def _paths(source: str | tuple[str, ...]) -> list[Path]:
    return [path for part in ([source] if isinstance(source, str) else source) for path in find_files(part)[0]]


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
        keys, places = self._keys("train", self._data.train, kept=bool(files))
        sides = assign(keys, validation=share["validation"], test=share["test"])
        seen: dict[bytes, int] = {}
        for i, key in enumerate(keys if files else ()):
            if sides[i] == "train":
                seen.setdefault(key, i)
        leaks: list[tuple[str, tuple[str, int]]] = []
        for name, source in files.items():
            held_out, origins = self._keys(name, source, kept=True)
            sides += [name] * len(held_out)
            leaks += [
                (f"its prompt is trained: {places[seen[key]]}.", (origin.file, origin.line))
                for key, origin in zip(held_out, origins, strict=True)
                if key in seen
            ]
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
        }  # fmt: skip
        (self._partial / _DONE).write_bytes(orjson.dumps(done))
        flush(self._partial)
        os.replace(self._partial, self._folder)

    def _keys(self, name: str, source: str | tuple[str, ...], *, kept: bool) -> tuple[list[bytes], list[Origin]]:
        """The keys of a set's prompts and, if they are to be `kept`, where its examples stand; findings are counted."""
        balance, findings = Balance(), Findings()
        keys: list[bytes] = []
        places: list[Origin] = []
        for item in self._stream(source, balance):
            if isinstance(item, Finding):
                findings.add(item)
            else:
                keys.append(prompt_key(item)[:16])
                if kept:
                    places.append(item.origin)
        read = Reading(
            (), tuple(findings.kept), "+".join(balance.formats), balance.read, dict(balance.dropped), self._sums[name],
            dict(findings.totals),
        )  # fmt: skip
        self._books.enter(f"data.{name}", read)
        self._formats = self._formats or read.format
        return keys, places

    def _stream(self, source: str | tuple[str, ...], balance: Balance) -> Iterator[AnyExample | Finding]:
        d = self._data
        return stream_examples(source, balance, format=d.format, fields=d.fields, system=d.system)

    def _encode(self, sources: Sequence[str | tuple[str, ...]], sides: Sequence[str], tell: Tell) -> None:
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
                for side, writer in writers.items():
                    writer.add(self._books.encode([e for i, e in enumerate(portion, start=at) if sides[i] == side]))
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
