"""Which example is seen when: a pure function of seed and position.

The decision: nothing is drawn from a stream, so a checkpoint holds an integer instead of a history, and the order
of an epoch is known without walking through the ones before. Mixing function: SplitMix64 (Steele, Lea & Flood, 2014,
https://doi.org/10.1145/2714064.2660195), which no library version can change.
"""

import hashlib

import numpy as np
from numpy.typing import NDArray


def derive(seed: int, purpose: str, *position: int) -> int:
    """A 63-bit number for one use of randomness; equal arguments give equal numbers, on every machine.

    >>> derive(0, "order", 1) == derive(0, "order", 1), derive(0, "order", 1) == derive(0, "order", 2)
    (True, False)
    """
    text = f"{seed}/{purpose}/{'/'.join(map(str, position))}"
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "little") >> 1


def permutation(seed: int, epoch: int, count: int) -> NDArray[np.int64]:
    """The order of `count` things in one epoch."""
    with np.errstate(over="ignore"):
        x = np.arange(1, count + 1, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15)
        x += np.uint64(derive(seed, "order", epoch))
        x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        x ^= x >> np.uint64(31)
    return np.argsort(x, kind="stable").astype(np.int64)


def steps_per_epoch(count: int, batch_size: int) -> int:
    """How many steps one epoch has; the last one may be smaller, none is empty."""
    return -(-count // batch_size)


def examples_of_step(step: int, *, count: int, batch_size: int, seed: int) -> NDArray[np.int64]:
    """Indices of the examples of update `step` (0-based), in the order of their epoch."""
    epoch, within = divmod(step, steps_per_epoch(count, batch_size))
    return permutation(seed, epoch, count)[within * batch_size : (within + 1) * batch_size]
