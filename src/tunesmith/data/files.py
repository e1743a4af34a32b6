"""Which files a source means, and their bytes: found, opened, unpacked within a limit, fingerprinted.

The decision: a source is a file, a folder or a glob, always read in the order of names, so that the same folder gives
the same data everywhere. What is compressed is unpacked while reading, and never more than a limit allows.
"""

import difflib
import glob
import gzip
import hashlib
import io
import zlib
from codecs import getincrementaldecoder
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import BinaryIO, cast

from tunesmith.data.remote import fetch, is_remote
from tunesmith.errors import DataError

PACKED = (".gz", ".zst")
TABLES = (".jsonl", ".ndjson", ".json", ".csv", ".tsv", ".parquet", ".arrow")
TEXTS = (".txt", ".md", ".markdown")
# Text rarely packs better than 100:1; a file that grows more than this is made to fill memory or disk.
RATIO_LIMIT = 300
RATIO_FREE = 64 * 2**20
_PART = 2**16

DAMAGE = (EOFError, zlib.error, gzip.BadGzipFile)


def kind_of(path: Path) -> str:
    """The suffix that says how to read `path`, in lower case, without `.gz` or `.zst`."""
    inner = path.with_suffix("") if path.suffix.lower() in PACKED else path
    return inner.suffix.lower()


def find_files(source: str | Path) -> tuple[list[Path], list[Path]]:
    """The files that `source` (file, folder, glob or address) means, sorted by name, and those of a folder left out.

    In a folder, text files count only where no structured file stands, so that a README is not training data.

    Raises:
        DataError: nothing is there; names what stands nearby.
    """
    if isinstance(source, str) and is_remote(source):
        return fetch(source), []
    path = Path(source).expanduser()
    if path.is_file():
        return [path], []
    if path.is_dir():
        return _files_of_folder(path)
    matches = [Path(m) for m in sorted(glob.glob(str(path), recursive=True))]
    found = [m for m in matches if m.is_file()]
    if not found:
        raise DataError(_missing(path))
    return found, []


def _files_of_folder(folder: Path) -> tuple[list[Path], list[Path]]:
    files = sorted(p for p in folder.rglob("*") if p.is_file() and not _hidden(p.relative_to(folder)))
    home = folder.resolve()
    if (stray := next((p for p in files if not p.resolve().is_relative_to(home)), None)) is not None:
        raise DataError(
            f"{stray}: this link leads out of the folder, to {stray.resolve()}. Name that file itself if it is meant."
        )
    tables = [p for p in files if kind_of(p) in TABLES]
    chosen = tables or [p for p in files if kind_of(p) in TEXTS]
    if not chosen:
        raise DataError(f"{folder}: the folder holds no data file; expected one of {', '.join((*TABLES, *TEXTS))}.")
    return chosen, [p for p in files if p not in set(chosen)]


def _hidden(path: Path) -> bool:
    return any(part.startswith(".") for part in path.parts)


def _missing(path: Path) -> str:
    folder = path.parent
    if any(sign in str(path) for sign in "*?["):
        return f"{path}: no file matches this pattern."
    if not folder.is_dir():
        return f"{path}: no such file; the folder {folder} does not exist either."
    names = [p.name for p in folder.iterdir()]
    near = difflib.get_close_matches(path.name, names, n=3, cutoff=0.5)
    near += [n for n in sorted(names) if Path(n).stem == path.stem and n not in near]
    if near:
        return f"{path}: no such file. Did you mean {' or '.join(near)}?"
    data = sorted(n for n in names if kind_of(Path(n)) in (*TABLES, *TEXTS))[:5]
    return f"{path}: no such file. " + (
        f"The folder holds {', '.join(data)}." if data else "No data file stands there."
    )


def open_bytes(path: Path) -> BinaryIO:
    """The bytes of `path`, unpacked where its name ends in .gz or .zst.

    Raises:
        DataError: it cannot be opened or is empty; while reading, that it unpacks to more than the limit.
    """
    try:
        size = path.stat().st_size
        file = path.open("rb")
    except OSError as error:
        raise DataError(f"{path}: the file cannot be opened: {error.strerror or error}.") from error
    if size == 0:
        file.close()
        raise DataError(f"{path}: the file is empty.")
    if path.suffix.lower() not in PACKED:
        return file
    packed = cast(BinaryIO, gzip.GzipFile(fileobj=file)) if path.suffix.lower() == ".gz" else _unpack_zstd(file)
    return cast(BinaryIO, io.BufferedReader(_Limited(packed, file, path, size), buffer_size=2**18))


def _unpack_zstd(file: BinaryIO) -> BinaryIO:
    import pyarrow as pa

    return cast(BinaryIO, pa.CompressedInputStream(file, "zstd"))


class _Limited(io.RawIOBase):
    """The unpacked bytes of a file, as long as they stay within `RATIO_LIMIT` times its size."""

    def __init__(self, packed: BinaryIO, file: BinaryIO, path: Path, size: int) -> None:
        self._packed = packed
        self._file = file
        self._path = path
        self._left = max(RATIO_FREE, RATIO_LIMIT * size)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        try:
            data = self._packed.read(len(buffer))
        except OSError as error:
            # pyarrow reports a damaged zstd stream as OSError; one name for damage serves the readers.
            raise EOFError(str(error)) from error
        self._left -= len(data)
        if self._left < 0:
            raise DataError(
                f"{self._path}: unpacks to more than {RATIO_LIMIT} times its size. Unpack it yourself if it is genuine."
            )
        buffer[: len(data)] = data
        return len(data)

    def close(self) -> None:
        self._packed.close()
        self._file.close()
        super().close()


class _Recoded(io.RawIOBase):
    """A UTF-16 or UTF-32 stream as UTF-8 bytes."""

    def __init__(self, stream: BinaryIO, encoding: str) -> None:
        self._stream = stream
        self._decode = getincrementaldecoder(encoding)().decode
        self._ready = b""
        self._ended = False

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        while not self._ready and not self._ended:
            raw = self._stream.read(_PART)
            self._ended = not raw
            self._ready = self._decode(raw, self._ended).encode("utf-8", "surrogatepass")
        part = self._ready[: len(buffer)]
        self._ready = self._ready[len(part) :]
        buffer[: len(part)] = part
        return len(part)


def without_mark(stream: BinaryIO) -> tuple[BinaryIO, str | None]:
    """The stream as UTF-8 without its byte order mark, and the name of the encoding that the mark announced."""
    buffered = io.BufferedReader(cast(io.RawIOBase, stream), buffer_size=2**18)
    head = buffered.peek(4)[:4]
    if head.startswith(b"\xef\xbb\xbf"):
        buffered.read(3)
        return cast(BinaryIO, buffered), "utf-8"
    for mark, encoding in ((b"\xff\xfe\x00\x00", "utf-32"), (b"\xff\xfe", "utf-16"), (b"\xfe\xff", "utf-16")):
        if head.startswith(mark):
            recoded = io.BufferedReader(_Recoded(cast(BinaryIO, buffered), encoding))
            return cast(BinaryIO, recoded), encoding
    return cast(BinaryIO, buffered), None


def fingerprint(paths: Iterable[Path]) -> str:
    """SHA-256 of the files' bytes in hex: of the one file as `sha256sum` prints it, of several over their sums."""
    sums = [_sum(path) for path in paths]
    return sums[0] if len(sums) == 1 else hashlib.sha256("\n".join(sums).encode()).hexdigest()


def _sum(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def lines(stream: BinaryIO, limit: int) -> Iterator[tuple[int, bytes | None]]:
    """Line numbers from 1 and lines without their end; None for a line of more than `limit` bytes, which is skipped."""
    number = 0
    while raw := stream.readline(limit + 1):
        number += 1
        if len(raw) > limit and not raw.endswith(b"\n"):
            while (rest := stream.readline(limit)) and not rest.endswith(b"\n"):
                pass
            yield number, None
        else:
            yield number, raw
