"""A long pass over data in portions, each of which leaves bytes, so that a pass that was interrupted can go on.

The decision: what a portion tells is written as JSON and arrays, and kept in a file until the pass is done. A pass puts
these bytes together whether it has just made them or finds them kept, so one that goes on gives what an uninterrupted
one gives. A portion that a crash cut off in the middle is made again.
"""

import json
import zlib
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from filelock import FileLock, Timeout

from tunesmith.data.checks import Finding
from tunesmith.data.example import AnyExample

PORTION = 2048
"""Examples and findings between two results that are kept."""
_LENGTH, _SUM = 8, 4


def portions(items: Iterable[AnyExample | Finding], size: int = PORTION) -> Iterator[list[AnyExample | Finding]]:
    """The items in lists of `size` or a few more: the examples of one record stay together."""
    part: list[AnyExample | Finding] = []
    for item in items:
        if len(part) >= size and _place(item) != _place(part[-1]):
            yield part
            part = []
        part.append(item)
    if part:
        yield part


def _place(item: AnyExample | Finding) -> tuple[str, int | None]:
    return (item.file, item.line) if isinstance(item, Finding) else (item.origin.file, item.origin.line)


def pack(facts: Mapping[str, Any], arrays: Mapping[str, bytes]) -> bytes:
    """Facts for JSON and the bytes of arrays, as bytes from which `unpack` makes them again."""
    sizes = {name: len(raw) for name, raw in arrays.items()}
    # Escaped, two lone surrogates that meet would come back as one character.
    head = json.dumps({"facts": facts, "sizes": sizes}, ensure_ascii=False).encode("utf-8", "surrogatepass")
    return b"".join([len(head).to_bytes(_LENGTH, "little"), head, *arrays.values()])


def unpack(raw: bytes) -> tuple[dict[str, Any], dict[str, bytes]]:
    """The facts and arrays of `pack`; keys of JSON objects are text."""
    at = _LENGTH + int.from_bytes(raw[:_LENGTH], "little")
    head = json.loads(raw[_LENGTH:at].decode("utf-8", "surrogatepass"))
    arrays = {}
    for name, size in head["sizes"].items():
        arrays[name] = raw[at : at + size]
        at += size
    return head["facts"], arrays


class Kept:
    """The results of a pass so far, in a file; used in a `with`.

    The name of the file must stand for everything that the results follow from. Without a file, or where another pass
    holds it, nothing is kept.
    """

    def __init__(self, file: Path | None) -> None:
        self._path = file
        self._lock = None if file is None else FileLock(file.with_suffix(".lock"))
        self._file: Any = None

    def __enter__(self) -> Self:
        if self._path is not None and self._lock is not None:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            try:
                self._lock.acquire(timeout=0)
            except Timeout:
                return self
            self._file = self._path.open("a+b")
            self._file.seek(0)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        if self._file is not None and self._path is not None and self._lock is not None:
            self._file.close()
            if kind is None:  # the pass is done, so nobody needs its parts any more
                self._path.unlink(missing_ok=True)
            self._lock.release()

    def following(self) -> bytes | None:
        """The next result that is kept; None where the last one has been given."""
        if self._file is None:
            return None
        at = self._file.tell()
        head = self._file.read(_LENGTH + _SUM)
        raw: bytes = self._file.read(int.from_bytes(head[:_LENGTH], "little"))
        if len(head) == _LENGTH + _SUM and zlib.crc32(raw) == int.from_bytes(head[_LENGTH:], "little"):
            return raw
        self._file.truncate(at)
        return None

    def add(self, raw: bytes) -> None:
        """Keep the result of the next portion."""
        if self._file is not None:
            self._file.write(len(raw).to_bytes(_LENGTH, "little") + zlib.crc32(raw).to_bytes(_SUM, "little") + raw)
            self._file.flush()
