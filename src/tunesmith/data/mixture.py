"""Several sources as one: each with its share, in an order that is a function of seed and position.

The decision: shares are kept at every point of the mixture, not only in the end: the next example always comes from
the source that is furthest behind its share. Within a source each pass draws its own order by lot.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from tunesmith.data.example import AnyExample
from tunesmith.data.selection import lot
from tunesmith.errors import UsageError


@dataclass(frozen=True, slots=True)
class Mixture:
    """The mixed examples, and how many came from each source in how many passes (1.5: half of it twice)."""

    examples: tuple[AnyExample, ...]
    counts: tuple[int, ...]
    passes: tuple[float, ...]


def tempered(sizes: Sequence[int], temperature: float) -> list[float]:
    """Weights for sources of these sizes: proportional at temperature 1, more equal above, equal at infinity.

    `size ** (1 / temperature)`, normalised (Arivazhagan et al. 2019).

    >>> tempered([900, 100], 2.0)
    [0.75, 0.25]
    """
    raw = [size ** (1 / temperature) for size in sizes]
    return [weight / sum(raw) for weight in raw]


def mix(sources: Sequence[Sequence[AnyExample]], weights: Sequence[float], *, count: int, seed: int = 0) -> Mixture:
    """`count` examples of the sources by weight.

    Raises:
        UsageError: weights and sources do not match, a weight is negative, or a weighted source is empty.
    """
    if len(weights) != len(sources) or min(weights, default=0) < 0 or sum(weights) <= 0:
        raise UsageError(
            f"{len(sources)} sources need as many weights, each ≥ 0 and not all 0; given: {list(weights)}."
        )
    if any(weight > 0 and not source for source, weight in zip(sources, weights, strict=True)):
        raise UsageError("a source with a weight above 0 holds no example.")
    shares = [weight / sum(weights) for weight in weights]
    counts = [0] * len(sources)
    orders: list[list[int]] = [[] for _ in sources]
    mixed = []
    for position in range(1, count + 1):
        behind = [share * position - taken for share, taken in zip(shares, counts, strict=True)]
        chosen = max(range(len(sources)), key=lambda i: (behind[i], shares[i], -i))
        source, taken = sources[chosen], counts[chosen]
        if taken % len(source) == 0:
            rounds = taken // len(source)
            orders[chosen] = sorted(range(len(source)), key=lambda i: (lot(source[i], seed, rounds), i))
        mixed.append(source[orders[chosen][taken % len(source)]])
        counts[chosen] += 1
    passes = tuple(taken / len(source) if source else 0.0 for taken, source in zip(counts, sources, strict=True))
    return Mixture(tuple(mixed), tuple(counts), passes)
