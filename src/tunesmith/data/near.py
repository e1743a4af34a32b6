"""Near duplicates among many texts, without comparing each with each.

The decision: MinHash (Broder 1997) over three-word runs with banding (Leskovec, Rajaraman, Ullman, chapter 3), in numpy
and with fixed constants, so that the same texts give the same pairs on every machine. Candidates are then compared
exactly; a pair that is reported has the similarity that is reported. Signatures of a set of any size wait in a file.
"""

import tempfile
import zlib
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain, islice

import numpy as np
from numpy.typing import NDArray

from tunesmith.data.duplicates import SHINGLE, similarity

# 20 bands of 6 find a pair of similarity 0.8 with probability 0.998 and one of 0.5 with 0.27.
BANDS, ROWS = 20, 6
_BLOCK = 512
_TOGETHER = 64
_BYTES = 2 * BANDS * ROWS
_AT_ONCE = 2**16
_chance = np.random.Generator(np.random.PCG64(20_240_607))
_FACTORS = _chance.integers(0, 2**31, BANDS * ROWS, dtype=np.uint32) * np.uint32(2) + np.uint32(1)
_OFFSETS = _chance.integers(0, 2**32, BANDS * ROWS, dtype=np.uint32)
_MIX = np.array([0x9E3779B97F4A7C15, 0xC2B2AE3D27D4EB4F, 0x165667B19E3779F9], dtype=np.uint64)


class _Codes(dict[str, int]):
    """The number of a word: its CRC-32, remembered for a while, because most words come again."""

    def __missing__(self, word: str) -> int:
        if len(self) >= 2**16:
            self.clear()
        code = self[word] = zlib.crc32(word.encode("utf-8", "surrogatepass"))
        return code


_code = _Codes().__getitem__


def signatures(texts: Iterable[str]) -> NDArray[np.uint16]:
    """The MinHash signatures of many texts, [n, 120]; 240 bytes a text.

    The share of equal entries estimates the similarity of two texts.
    """
    found = [np.empty((0, BANDS * ROWS), dtype=np.uint16)]
    every = iter(texts)
    while part := list(islice(every, _TOGETHER)):
        found.append(_signed(part))
    return np.concatenate(found)


def _signed(texts: Sequence[str]) -> NDArray[np.uint16]:
    words = [list(map(_code, text.lower().split())) for text in texts]
    for one in words:
        one += [0] * (SHINGLE - len(one))
    ends = np.cumsum([len(one) for one in words])
    # The runs that begin in one text and end in the next are made too, and left out.
    codes = np.array(list(chain.from_iterable(words)), dtype=np.uint64)
    runs = len(codes) - SHINGLE + 1
    mixed = np.zeros(runs, dtype=np.uint64)
    for i in range(SHINGLE):
        mixed = (mixed ^ (mixed >> np.uint64(29))) * _MIX[i] + codes[i : i + runs]
    mixed = (mixed ^ (mixed >> np.uint64(32))) * _MIX[0]
    numbers = (mixed >> np.uint64(32)).astype(np.uint32)
    least = np.empty((len(texts), BANDS * ROWS), dtype=np.uint32)
    at = 0
    for row, end in enumerate(ends.tolist()):
        _minima(numbers[at : end - SHINGLE + 1], least[row])
        at = end
    # The low 16 bits of each minimum: two different ones agree by chance once in 65,536. The high ones of a long text's
    # minima are nearly all zero.
    return least.astype(np.uint16)


def _minima(numbers: NDArray[np.uint32], out: NDArray[np.uint32]) -> None:
    """The least number under each of the hash functions, in 32 bits, which processors take eight at a time."""
    out.fill(2**32 - 1)
    for start in range(0, len(numbers), _BLOCK):
        block = numbers[start : start + _BLOCK, None] * _FACTORS
        block += _OFFSETS
        np.minimum(out, block.min(axis=0), out=out)


def candidates(signed: NDArray[np.uint16]) -> Iterator[tuple[int, int]]:
    """Pairs (earlier, later) whose signatures agree in at least one band, each once.

    Within a group that agrees, each is paired with the first only: a thousand copies are a thousand pairs, not half a
    million.
    """
    seen: set[tuple[int, int]] = set()
    for band in range(BANDS):
        for pair in _paired(_keys(signed[:, band * ROWS : (band + 1) * ROWS])).tolist():
            if tuple(pair) not in seen:
                seen.add(tuple(pair))
                yield pair[0], pair[1]


def _keys(band: NDArray[np.uint16]) -> NDArray[np.uint64]:
    """A number for the six entries of a band, the same where they are the same (and by chance once in 2 ** 64)."""
    wide = band.astype(np.uint64)
    low = wide[:, 0] | wide[:, 1] << np.uint64(16) | wide[:, 2] << np.uint64(32) | wide[:, 3] << np.uint64(48)
    keys: NDArray[np.uint64] = low ^ ((wide[:, 4] | wide[:, 5] << np.uint64(16)) * _MIX[0])
    return keys


def _paired(keys: NDArray[np.uint64]) -> NDArray[np.int64]:
    """The first of each group of equal keys with each later one, [n, 2], in order of the later."""
    _, first, group = np.unique(keys, return_index=True, return_inverse=True)
    later = np.flatnonzero(first[group] != np.arange(len(keys)))
    return np.stack([first[group[later]], later], axis=1)


class Signatures:
    """The signatures of many texts, in a temporary file: memory grows by some 40 bytes a text while they are compared.

    Used in a `with`; the file is gone behind it.
    """

    def __init__(self) -> None:
        self._file = tempfile.TemporaryFile(prefix="tunesmith-")  # noqa: SIM115  it lives as long as this

    def __enter__(self) -> "Signatures":
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def add(self, signed: bytes) -> None:
        """Add signatures, as the bytes of `signatures`."""
        self._file.write(signed)

    def likely(self, least: float) -> Iterator[tuple[int, int, float]]:
        """Pairs (earlier, later) that agree in a band, with the estimate of their similarity where it is `least` or
        more, in order of the later.
        """
        codes = np.empty(0, dtype=np.int64)
        for keys in self._bands():
            pairs = _paired(keys)
            codes = np.union1d(codes, pairs[:, 1] << 32 | pairs[:, 0])  # in order of the later
        for start in range(0, len(codes), _AT_ONCE):
            part = codes[start : start + _AT_ONCE]
            earlier, later = (part & (2**32 - 1)).tolist(), (part >> 32).tolist()
            alike = (self._rows(earlier) == self._rows(later)).mean(axis=1).tolist()
            yield from (pair for pair in zip(earlier, later, alike, strict=True) if pair[2] >= least)

    def _bands(self) -> Iterator[NDArray[np.uint64]]:
        for band in range(BANDS):
            self._file.seek(0)
            blocks = []
            while raw := self._file.read(_BYTES * _AT_ONCE):
                block = np.frombuffer(raw, dtype=np.uint16).reshape(-1, BANDS * ROWS)
                blocks.append(_keys(block[:, band * ROWS : (band + 1) * ROWS]))
            yield np.concatenate(blocks) if blocks else np.empty(0, dtype=np.uint64)

    def _rows(self, numbers: Iterable[int]) -> NDArray[np.uint16]:
        raw = bytearray()
        for number in numbers:
            self._file.seek(number * _BYTES)
            raw += self._file.read(_BYTES)
        return np.frombuffer(raw, dtype=np.uint16).reshape(-1, BANDS * ROWS)


def near_pairs(texts: Sequence[str], threshold: float = 0.8) -> list[tuple[int, int, float]]:
    """Each text that is at least `threshold` alike an earlier one: (earlier, later, similarity), in order of later.

    Of several earlier ones the most alike is named.
    """
    best: dict[int, tuple[int, float]] = {}
    for earlier, later in candidates(signatures(texts)):
        alike = similarity(texts[earlier], texts[later])
        if alike >= threshold and alike > best.get(later, (0, 0.0))[1]:
            best[later] = (earlier, alike)
    return [(earlier, later, alike) for later, (earlier, alike) in sorted(best.items())]
