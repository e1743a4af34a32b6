"""Batch: what one forward reads, as flat arrays without padding (design, section 3).

Letters: T tokens, S segments, R targets, U distinct supervised rows. Flat order is depth-first through the forest, so
token q may see token k exactly when `k <= q < subtree_end[k]`. The hidden state at flat index `rows[u]` predicts
`target[r]` for every r with `row_of[r] == u`; nobody shifts anything.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class Segment:
    """A run of tokens `start:end` of the flat order with one parent; `ancestors` are (start, end) from root down."""

    start: int
    end: int
    ancestors: tuple[tuple[int, int], ...]


@dataclass(frozen=True, slots=True, eq=False)
class Batch:
    """A micro-batch as a forest of shared beginnings."""

    ids: NDArray[np.int64]  # [T]
    position: NDArray[np.int64]  # [T] depth in the tree
    subtree_end: NDArray[np.int64]  # [T] flat index after the last descendant
    path: NDArray[np.int64]  # flat index of each token that each example needs, examples in the order given
    segments: tuple[Segment, ...]  # in flat order, together covering 0..T
    rows: NDArray[np.int64]  # [U] flat indices, ascending
    row_of: NDArray[np.int64]  # [R] index into rows
    target: NDArray[np.int64]  # [R] token to be predicted
    weight: NDArray[np.float32]  # [R] how much its loss counts, > 0
    example: NDArray[np.int64]  # [R] place of the example in what the batch was built from
    examples: int  # how many examples the batch was built from
    data_tokens: int  # tokens of those examples before sharing
