"""Store: encoded examples on disk, mapped into memory, so that a set may be larger than the machine's memory.

The decision: five flat files (ids, weights, where each example ends, and its origin), appended to and never rewritten;
an example is a view into them, and a set is a list of places. A writer can be cut back to an earlier state, so encoding
goes on after a crash.
"""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self, overload

import numpy as np
import orjson
from numpy.typing import NDArray

from tunesmith.data.example import Origin
from tunesmith.tokens.encoded import EncodedExample

_FILES: Mapping[str, str] = {"ids": "<i4", "weights": "<f4", "ends": "<i8", "lines": "<i8", "files": "<i4"}
_NAMES = "names.json"
_PLACE = "<i8"


class Store(Sequence[EncodedExample]):
    """The examples of a folder that a `StoreWriter` has filled, in order; those alone whose places a file holds."""

    def __init__(self, folder: Path, places: Path) -> None:
        self._arrays = {name: _mapped(folder / name, kind) for name, kind in _FILES.items()}
        self._names: list[str] = orjson.loads((folder / _NAMES).read_bytes())
        self._places = _mapped(places, _PLACE)

    def __len__(self) -> int:
        return len(self._places)

    @property
    def lengths(self) -> NDArray[np.int64]:
        """Tokens of each example."""
        lengths: NDArray[np.int64] = np.diff(self._arrays["ends"], prepend=0)[self._places]
        return lengths

    @overload
    def __getitem__(self, place: int) -> EncodedExample: ...
    @overload
    def __getitem__(self, place: slice) -> list[EncodedExample]: ...
    def __getitem__(self, place: int | slice) -> EncodedExample | list[EncodedExample]:
        if isinstance(place, slice):
            return [self[i] for i in range(*place.indices(len(self)))]
        at = place + len(self) if place < 0 else place
        if not 0 <= at < len(self):
            raise IndexError(place)
        arrays, at = self._arrays, int(self._places[at])
        start, end = int(arrays["ends"][at - 1]) if at else 0, int(arrays["ends"][at])
        origin = Origin(self._names[arrays["files"][at]], int(arrays["lines"][at]))
        return EncodedExample(arrays["ids"][start:end], arrays["weights"][start:end], origin)


def write_places(file: Path, places: NDArray[np.int64]) -> None:
    """Write which examples of a folder, in which order, are a `Store`."""
    file.write_bytes(places.astype(_PLACE).tobytes())


class StoreWriter:
    """Appends examples to a folder; `state` and `cut` let it go on from where it was."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._folder = folder
        self._files = {name: (folder / name).open("ab") for name in _FILES}
        self._names: dict[str, int] = {}
        self._tokens = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        for file in self._files.values():
            file.close()

    def add(self, examples: Iterable[EncodedExample]) -> None:
        """Append examples."""
        found = list(examples)
        if not found:
            return
        lengths = np.array([len(one) for one in found], dtype=np.int64)
        ends = self._tokens + np.cumsum(lengths)
        self._tokens = int(ends[-1])
        files = [self._names.setdefault(one.origin.file, len(self._names)) for one in found]
        columns: dict[str, Any] = {
            "ids": np.concatenate([one.ids for one in found]),
            "weights": np.concatenate([one.weights for one in found]),
            "ends": ends, "lines": [one.origin.line for one in found], "files": files,
        }  # fmt: skip
        for name, values in columns.items():
            self._files[name].write(np.asarray(values, dtype=_FILES[name]).tobytes())

    def state(self) -> dict[str, Any]:
        """What `cut` needs to come back to here; everything so far has been handed to the system."""
        for file in self._files.values():
            file.flush()
        (self._folder / _NAMES).write_bytes(orjson.dumps(list(self._names)))
        return {"sizes": {name: file.tell() for name, file in self._files.items()}, "names": list(self._names)}

    def cut(self, state: Mapping[str, Any] | None) -> None:
        """The folder holds what it held at that state; None: nothing."""
        sizes = state["sizes"] if state else dict.fromkeys(_FILES, 0)
        for name, file in self._files.items():
            file.truncate(sizes[name])
            file.seek(sizes[name])
        self._names = {name: i for i, name in enumerate(state["names"] if state else ())}
        self._tokens = sizes["ids"] // 4


def _mapped(file: Path, kind: str) -> NDArray[Any]:
    # An empty file cannot be mapped.
    return np.asarray(np.memmap(file, dtype=kind, mode="r")) if file.stat().st_size else np.empty(0, dtype=kind)
