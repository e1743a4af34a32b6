"""Near duplicates among many texts, without comparing each with each.

The decision: MinHash (Broder 1997) over three-word runs with banding (Leskovec, Rajaraman, Ullman, chapter 3), in numpy
and with fixed constants, so that the same texts give the same pairs on every machine. Candidates are then compared
exactly; a pair that is reported has the similarity that is reported.
"""

import zlib
from collections.abc import Iterable, Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from tunesmith.data.duplicates import SHINGLE, similarity

# 20 bands of 6 find a pair of similarity 0.8 with probability 0.998 and one of 0.5 with 0.27.
BANDS, ROWS = 20, 6
_BLOCK = 4096
_chance = np.random.Generator(np.random.PCG64(20_240_607))
_FACTORS = _chance.integers(0, 2**63, BANDS * ROWS, dtype=np.uint64) * np.uint64(2) + np.uint64(1)
_OFFSETS = _chance.integers(0, 2**63, BANDS * ROWS, dtype=np.uint64)
_MIX = np.array([0x9E3779B97F4A7C15, 0xC2B2AE3D27D4EB4F, 0x165667B19E3779F9], dtype=np.uint64)


def signature(text: str) -> NDArray[np.uint16]:
    """The MinHash signature of a text, [120]: the share of equal entries estimates the similarity of two texts."""
    words = [zlib.crc32(word.encode("utf-8", "surrogatepass")) for word in text.lower().split()]
    words += [0] * (SHINGLE - len(words))
    codes = np.array(words, dtype=np.uint64)
    runs = len(codes) - SHINGLE + 1
    mixed = np.zeros(runs, dtype=np.uint64)
    for i in range(SHINGLE):
        mixed = (mixed ^ (mixed >> np.uint64(29))) * _MIX[i] + codes[i : i + runs]
    mixed ^= mixed >> np.uint64(32)
    least = np.full(BANDS * ROWS, 2**64 - 1, dtype=np.uint64)
    for start in range(0, runs, _BLOCK):
        block = mixed[start : start + _BLOCK, None] * _FACTORS + _OFFSETS
        np.minimum(least, block.min(axis=0), out=least)
    # 16 bits of each minimum: two different ones agree by chance once in 65,536.
    return (least >> np.uint64(48)).astype(np.uint16)


def signatures(texts: Iterable[str]) -> NDArray[np.uint16]:
    """The signatures of many texts, [n, 120]; 240 bytes a text."""
    raw = b"".join(signature(text).tobytes() for text in texts)
    return np.frombuffer(raw, dtype=np.uint16).reshape(-1, BANDS * ROWS)


def candidates(signed: NDArray[np.uint16]) -> Iterator[tuple[int, int]]:
    """Pairs (earlier, later) whose signatures agree in at least one band, each once.

    Within a group that agrees, each is paired with the first only: a thousand copies are a thousand pairs, not half a
    million.
    """
    seen: set[tuple[int, int]] = set()
    for band in range(BANDS):
        part = np.ascontiguousarray(signed[:, band * ROWS : (band + 1) * ROWS])
        keys = part.view(np.dtype((np.void, part.dtype.itemsize * ROWS))).ravel()
        _, first, group, sizes = np.unique(keys, return_index=True, return_inverse=True, return_counts=True)
        for later in np.flatnonzero(sizes[group] > 1).tolist():
            pair = (int(first[group[later]]), later)
            if pair[0] != later and pair not in seen:
                seen.add(pair)
                yield pair


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
