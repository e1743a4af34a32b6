"""How sure a number is: intervals, tests, and what a number of items can show at all.

The decision: every metric is a function of *sums over items* (`columns` [n, k], `value` of their sums [..., k]). So one
bootstrap, one paired bootstrap and one permutation test serve accuracy, macro F1 and perplexity alike, as matrix
products. Every random draw comes from a fixed seed: the same files give the same interval.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Value = Callable[[Array], Array]

RESAMPLES = 2000
_CHUNK = 200  # resamples at once; bounds the memory at chunk * items numbers
_EXACT_FLIPS = 12  # up to 2**12 assignments are enumerated instead of drawn


def wilson(successes: int, n: int, *, level: float = 0.95) -> tuple[float, float]:
    """Interval of a proportion (Wilson, 1927, https://doi.org/10.1080/01621459.1927.10502953).

    Unlike the textbook interval it stays inside 0..1 and has a width when all or none of the items succeed.

    >>> [round(x, 4) for x in wilson(81, 263)]
    [0.2553, 0.3662]
    """
    if n == 0:
        return 0.0, 1.0
    z = NormalDist().inv_cdf(0.5 + level / 2)
    share, spread = successes / n, z * z / n
    middle = (share + spread / 2) / (1 + spread)
    half = z * math.sqrt(share * (1 - share) / n + spread / (4 * n)) / (1 + spread)
    return max(0.0, middle - half), min(1.0, middle + half)


def paired_wilson(both: int, only_left: int, only_right: int, neither: int) -> tuple[float, float]:
    """95 % interval of the right system's proportion less the left one's, when both answered the same items.

    Newcombe's method 10 (1998, https://doi.org/10.1002/(SICI)1097-0258(19981130)17:22<2635::AID-SIM954>3.0.CO;2-C):
    two Wilson intervals put together with the correlation of the pairs. Unlike a bootstrap it has a width when all
    items agree, so it is the one for few items.
    """
    n = both + only_left + only_right + neither
    left, right = both + only_left, both + only_right
    p_left, p_right = left / n, right / n
    (low_left, high_left), (low_right, high_right) = wilson(left, n), wilson(right, n)
    phi = _correlation(both, only_left, only_right, neither)
    down = _joined(p_right - low_right, high_left - p_left, phi)
    up = _joined(high_right - p_right, p_left - low_left, phi)
    return p_right - p_left - down, p_right - p_left + up


def apart_wilson(left: tuple[int, int], right: tuple[int, int]) -> tuple[float, float]:
    """95 % interval of the right proportion less the left one's, each given as (successes, n), of items of their own.

    Newcombe's method 10 for two groups (1998, https://doi.org/10.1002/(SICI)1097-0258(19980430)17:8<873::AID-SIM779>
    3.0.CO;2-I). From -1 to 1 where a group is empty.

    >>> [round(x, 4) for x in apart_wilson((48, 80), (56, 70))]
    [0.0524, 0.3339]
    """
    if not left[1] or not right[1]:
        return -1.0, 1.0
    p_left, p_right = left[0] / left[1], right[0] / right[1]
    (low_left, high_left), (low_right, high_right) = wilson(*left), wilson(*right)
    down, up = (
        _joined(p_right - low_right, high_left - p_left, 0.0),
        _joined(high_right - p_right, p_left - low_left, 0.0),
    )
    return p_right - p_left - down, p_right - p_left + up


def _correlation(both: int, only_left: int, only_right: int, neither: int) -> float:
    """The phi coefficient, corrected for continuity where it is positive."""
    n = both + only_left + only_right + neither
    margins = (both + only_left) * (only_right + neither) * (both + only_right) * (only_left + neither)
    product = float(both * neither - only_left * only_right)
    if product > 0:
        product = max(0.0, product - n / 2)
    return product / math.sqrt(margins) if margins else 0.0


def _joined(a: float, b: float, phi: float) -> float:
    return math.sqrt(max(0.0, a * a - 2 * phi * a * b + b * b))


def bootstrap(columns: Array, value: Value, *, level: float = 0.95, seed: int = 0) -> tuple[float, float]:
    """Percentile interval of `value` over resampled items (Efron, 1979, https://doi.org/10.1214/aos/1176344552)."""
    draws = np.concatenate([value(weights @ columns) for weights in _resamples(len(columns), seed)])
    return _percentiles(draws, level)


def paired_bootstrap(
    left: Array, right: Array, value: Value, *, level: float = 0.95, seed: int = 0
) -> tuple[float, float]:
    """Interval of `value(right) - value(left)` when both answered the same items, resampled together.

    Pairing removes what both find hard (Koehn, 2004, https://aclanthology.org/W04-3250).
    """
    draws = [value(weights @ right) - value(weights @ left) for weights in _resamples(len(left), seed)]
    return _percentiles(np.concatenate(draws), level)


def _resamples(n: int, seed: int) -> Iterator[Array]:
    """How often each item is drawn, [chunk, n] at a time."""
    random = np.random.default_rng(seed)
    for _ in range(RESAMPLES // _CHUNK):
        drawn = random.integers(0, n, size=(_CHUNK, n))
        yield np.stack([np.bincount(row, minlength=n) for row in drawn]).astype(np.float64)


def _percentiles(draws: Array, level: float) -> tuple[float, float]:
    """Of the draws that have a value: one that has only items without any (0 / 0) says nothing."""
    draws = draws[~np.isnan(draws)]
    if not len(draws):
        return math.nan, math.nan
    low, high = np.quantile(draws, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def mcnemar(only_left: int, only_right: int) -> float:
    """Exact two-sided p that two systems are right equally often, from the items only one of them got right.

    The binomial form of McNemar's test (1947, https://doi.org/10.1007/BF02295996).

    >>> mcnemar(0, 6)
    0.03125
    """
    n, fewer = only_left + only_right, min(only_left, only_right)
    tail = sum(math.comb(n, k) for k in range(fewer + 1))
    return min(1.0, tail / 2 ** (n - 1)) if n else 1.0


def sign_flip(left: Array, right: Array, value: Value, *, flips: int = 10_000, seed: int = 0) -> float:
    """Two-sided p of a paired permutation test: who gave which answer is exchanged item by item.

    For a mean this flips the signs of the differences (Fisher, 1935; as approximate randomisation: Noreen, 1989).
    With up to 12 differing items all exchanges are counted and p is exact; else `flips` are drawn, and p is never 0.
    """
    differing = np.any(left != right, axis=1)
    change = (right - left)[differing]
    observed = abs(float(value(right.sum(0)) - value(left.sum(0))))
    exact = len(change) <= _EXACT_FLIPS
    flipped = _all_flips(len(change)) if exact else _drawn_flips(len(change), flips, seed)
    moved = [flip @ change for flip in flipped]
    at_least = sum(
        int(np.sum(np.abs(value(right.sum(0) - m) - value(left.sum(0) + m)) >= observed - 1e-12)) for m in moved
    )
    return at_least / (1 << len(change)) if exact else (1 + at_least) / (1 + flips)


def _all_flips(n: int) -> Iterator[Array]:
    yield ((np.arange(2**n)[:, None] >> np.arange(n)) & 1).astype(np.float64)


def _drawn_flips(n: int, flips: int, seed: int) -> Iterator[Array]:
    random = np.random.default_rng(seed)
    for start in range(0, flips, _CHUNK):
        yield random.integers(0, 2, size=(min(_CHUNK, flips - start), n)).astype(np.float64)


def holm(ps: Sequence[float]) -> list[float]:
    """The p values, in their order, corrected for being several (Holm, 1979, https://www.jstor.org/stable/4615733).

    >>> [round(p, 3) for p in holm([0.01, 0.04, 0.03])]
    [0.03, 0.06, 0.06]
    """
    corrected, worst = [0.0] * len(ps), 0.0
    for rank, place in enumerate(sorted(range(len(ps)), key=lambda i: ps[i])):
        worst = max(worst, min(1.0, (len(ps) - rank) * ps[place]))
        corrected[place] = worst
    return corrected


def smallest_difference(spread: float, n: int, *, level: float = 0.95, power: float = 0.8) -> float:
    """The true mean difference that `n` paired items show with probability `power`.

    `spread` is the standard deviation of the per-item differences; the formula is the usual one for a paired mean
    (Miller, 2024, "Adding error bars to evals", section 5, https://arxiv.org/abs/2411.00640).
    """
    quantile = NormalDist().inv_cdf
    return (quantile(0.5 + level / 2) + quantile(power)) * spread / math.sqrt(n)
