"""PrefixForest: examples that start alike share their common tokens, so that each beginning is computed once.

The decision: a causal network computes the same hidden states for the same beginning, so sharing changes no number
(design, section 3). Examples are sorted by their ids; neighbours then share the longest beginnings, and the forest
falls out of the lengths they share. Flat packing is the same forest with sharing turned off. Of each example only what
is needed for its targets is there: its last tokens are predicted, but predict nothing themselves.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from tunesmith.batches.batch import Batch, Segment
from tunesmith.tokens.encoded import EncodedExample

MINIMUM_SHARED = 8
"""A shared run shorter than this is repeated: one more attention call costs more than so few tokens."""


def shared_length(a: NDArray[np.int32], b: NDArray[np.int32]) -> int:
    """How many tokens two sequences have in common from the start.

    >>> shared_length(np.array([1, 2, 3], np.int32), np.array([1, 2, 4, 5], np.int32))
    2
    """
    n = min(len(a), len(b))
    different = a[:n] != b[:n]
    first = int(different.argmax()) if n else 0
    return first if n and different[first] else n


def sorted_by_ids(examples: Sequence[EncodedExample]) -> list[int]:
    """Indices of the examples in lexicographic order of the ids they need; equal examples keep their order."""
    return sorted(range(len(examples)), key=lambda i: examples[i].needed.astype(">i4").tobytes())


@dataclass(slots=True)
class _Node:
    """A run of tokens of one example that every example `first:last` (in sorted order) begins with."""

    start: int  # flat index of its first token
    depth: int  # position of its first token
    length: int
    parent: int  # -1 for a root
    subtree_end: int = 0


class PrefixForest:
    """The examples of one micro-batch as a forest.

    `nodes` stand in flat, depth-first order. `leaf[i]` is the node in which example i (in the order given) ends.
    """

    def __init__(self, examples: Sequence[EncodedExample], *, sharing: bool = True) -> None:
        self.examples = examples
        self.nodes: list[_Node] = []
        self.leaf = [-1] * len(examples)
        self._ids: list[NDArray[np.int32]] = []
        self._order = sorted_by_ids(examples) if sharing else list(range(len(examples)))
        self._grow(self._shared_with_previous() if sharing else [0] * len(examples))
        for node in self.nodes:
            node.subtree_end = node.start + node.length
        for node in reversed(self.nodes):
            if node.parent >= 0:
                above = self.nodes[node.parent]
                above.subtree_end = max(above.subtree_end, node.subtree_end)

    @property
    def tokens(self) -> int:
        """How many tokens are computed."""
        return self.nodes[-1].start + self.nodes[-1].length if self.nodes else 0

    def batch(self) -> Batch:
        """The forest as flat arrays."""
        position = np.concatenate([np.arange(n.depth, n.depth + n.length) for n in self.nodes])
        ends = [np.full(n.length, n.subtree_end) for n in self.nodes]
        places = [self._places(i) for i in range(len(self.examples))]
        weights = [e.weights > 0 for e in self.examples]
        # The row before a target predicts it, so a target at place i meets the hidden state at place i - 1.
        rows = np.concatenate([p[np.flatnonzero(w) - 1] for p, w in zip(places, weights, strict=True)])
        distinct, row_of = np.unique(rows, return_inverse=True)
        return Batch(
            ids=np.concatenate(self._ids).astype(np.int64),
            position=position.astype(np.int64),
            subtree_end=np.concatenate(ends).astype(np.int64),
            path=np.concatenate(places).astype(np.int64),
            segments=tuple(self._segments()),
            rows=distinct.astype(np.int64),
            row_of=row_of.astype(np.int64),
            target=np.concatenate([e.ids[w] for e, w in zip(self.examples, weights, strict=True)]).astype(np.int64),
            weight=np.concatenate([e.weights[w] for e, w in zip(self.examples, weights, strict=True)]),
            example=np.repeat(np.arange(len(self.examples)), [int(w.sum()) for w in weights]).astype(np.int64),
            examples=len(self.examples),
            data_tokens=sum(len(e) for e in self.examples),
        )

    def _shared_with_previous(self) -> list[int]:
        """For each example in sorted order, how many tokens it shares with the one before it."""
        ids = [self.examples[i].needed for i in self._order]
        return [0] + [shared_length(a, b) for a, b in pairwise(ids)]

    def _grow(self, shared: list[int]) -> None:
        """Emit the nodes, and note in which of them each example ends."""
        lengths = [len(self.examples[i].needed) for i in self._order]
        for first, ending, depth, end, parent in _runs(lengths, shared):
            here = self._add(self.examples[self._order[first]].ids[depth:end], depth, parent)
            for i in self._order[first:ending]:
                self.leaf[i] = here

    def _add(self, ids: NDArray[np.int32], depth: int, parent: int) -> int:
        self.nodes.append(_Node(self.tokens, depth, len(ids), parent))
        self._ids.append(ids)
        return len(self.nodes) - 1

    def _path(self, node: int) -> list[_Node]:
        """The nodes from the root down to `node`."""
        path = []
        while node >= 0:
            path.append(self.nodes[node])
            node = self.nodes[node].parent
        return path[::-1]

    def _places(self, example: int) -> NDArray[np.int64]:
        """Flat index of each token that an example needs."""
        return np.concatenate([np.arange(n.start, n.start + n.length) for n in self._path(self.leaf[example])])

    def _segments(self) -> Iterator[Segment]:
        for node in self.nodes:
            above = tuple((n.start, n.start + n.length) for n in self._path(node.parent))
            yield Segment(node.start, node.start + node.length, above)


def computed_tokens(lengths: Sequence[int], shared: Sequence[int]) -> int:
    """How many tokens the forest of sorted examples computes, each sharing so many with the one before it."""
    return sum(end - depth for _, _, depth, end, _ in _runs(lengths, shared))


def _runs(lengths: Sequence[int], shared: Sequence[int]) -> Iterator[tuple[int, int, int, int, int]]:
    """The nodes depth-first: a range of sorted examples that agree on more becomes a node above its parts.

    Each is (first, ending, depth, end, parent): its tokens are those at `depth:end` of example `first`, and the
    examples `first:ending` end with it.
    """
    todo = [(a, b, 0, -1) for a, b in _groups(shared, 0, len(lengths), 0)][::-1]
    number = 0
    while todo:
        first, last, depth, parent = todo.pop()
        end = min(shared[first + 1 : last]) if last - first > 1 else lengths[first]
        ending = first
        while ending < last and lengths[ending] == end:
            ending += 1
        yield first, ending, depth, end, parent
        todo.extend([(a, b, end, number) for a, b in _groups(shared, ending, last, end)][::-1])
        number += 1


def _groups(shared: Sequence[int], first: int, last: int, depth: int) -> Iterator[tuple[int, int]]:
    """Cut `first:last` where neighbours share less than `MINIMUM_SHARED` tokens beyond `depth`."""
    start = first
    for i in range(first + 1, last + 1):
        if i == last or shared[i] < depth + MINIMUM_SHARED:
            yield start, i
            start = i
