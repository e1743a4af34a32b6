"""A step's examples → micro-batches under a token budget.

The decision: in sorted order an example costs about its length less what it shares with the one before it, so
micro-batches are filled in that order; what their forests compute is then counted exactly. The micro-batches of a
step are made equally full: a nearly empty last one would cost its fixed work for nothing.
"""

from bisect import bisect_right
from collections.abc import Sequence

from tunesmith.batches.batch import Batch
from tunesmith.batches.forest import MINIMUM_SHARED, PrefixForest, computed_tokens, shared_length, sorted_by_ids
from tunesmith.tokens.encoded import EncodedExample


def plan(examples: Sequence[EncodedExample], *, budget: int, sharing: bool = True) -> list[list[int]]:
    """Which examples are computed together: lists of indices, each within `budget` computed tokens.

    An example longer than the budget stands alone. Every example is in exactly one list.
    """
    order = sorted_by_ids(examples) if sharing else list(range(len(examples)))
    costs = [len(examples[i].needed) for i in order]
    saved = [0] * len(order)
    if sharing:
        for k in range(1, len(order)):
            common = shared_length(examples[order[k - 1]].needed, examples[order[k]].needed)
            saved[k] = common if common >= MINIMUM_SHARED else 0
    parts = _fill(costs, saved, budget)
    if len(parts) > 1:
        whole = sum(computed_tokens(costs[p.start : p.stop], saved[p.start : p.stop]) for p in parts)
        level = -(-whole // len(parts))
        while level < budget:
            fairer = _fill(costs, saved, level)
            if len(fairer) <= len(parts):
                parts = fairer
                break
            level += max(1, level // 32)
    return [[order[k] for k in part] for part in parts]


def micro_batches(examples: Sequence[EncodedExample], *, budget: int, sharing: bool = True) -> list[Batch]:
    """The Batches of one step; `Batch.example` counts within the examples of its own micro-batch."""
    parts = plan(examples, budget=budget, sharing=sharing)
    return [PrefixForest([examples[i] for i in part], sharing=sharing).batch() for part in parts]


def _fill(costs: list[int], saved: list[int], budget: int) -> list[range]:
    """Cut the sorted examples where the next one no longer fits."""
    parts: list[range] = []
    first = 0
    while first < len(costs):
        used, last = costs[first], first + 1
        while last < len(costs) and used + costs[last] - saved[last] <= budget:
            used += costs[last] - saved[last]
            last += 1
        parts.append(_within(range(first, last), costs, saved, budget))
        first = parts[-1].stop
    return parts


def _within(part: range, costs: list[int], saved: list[int], budget: int) -> range:
    """As much of the beginning of `part` as its forest computes within the budget, one example at least.

    Where branches part soon after one another, the forest repeats a few tokens that neighbours share. Halving finds the
    place: counting a forest takes its time, and steps may hold thousands of examples.
    """

    def computed(end: int) -> int:
        return computed_tokens(costs[part.start : end], saved[part.start : end])

    if len(part) == 1 or computed(part.stop) <= budget:
        return part
    return range(part.start, part.start + 1 + bisect_right(range(part.start + 2, part.stop), budget, key=computed))
