"""A step's examples → micro-batches under a token budget.

The decision: in sorted order an example costs its length less what it shares with the one before it, so filling
micro-batches in that order knows the computed tokens exactly. The micro-batches of a step are made equally full:
a nearly empty last one would cost its fixed work for nothing.
"""

from collections.abc import Sequence

from tunesmith.batches.batch import Batch
from tunesmith.batches.forest import MINIMUM_SHARED, PrefixForest, shared_length, sorted_by_ids
from tunesmith.tokens.encoded import EncodedExample


def plan(examples: Sequence[EncodedExample], *, budget: int, sharing: bool = True) -> list[list[int]]:
    """Which examples are computed together: lists of indices, each within `budget` computed tokens.

    An example longer than the budget stands alone. Every example is in exactly one list.
    """
    order = sorted_by_ids(examples) if sharing else list(range(len(examples)))
    costs = [len(examples[i]) for i in order]
    saved = [0] * len(order)
    if sharing:
        for k in range(1, len(order)):
            common = shared_length(examples[order[k - 1]].ids, examples[order[k]].ids)
            saved[k] = common if common >= MINIMUM_SHARED else 0
    parts = _fill(costs, saved, budget)
    if len(parts) > 1:
        level = -(-sum(_cost(costs, saved, part) for part in parts) // len(parts))
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


def _fill(costs: list[int], saved: list[int], budget: int) -> list[list[int]]:
    """Cut the sorted examples where the next one no longer fits."""
    parts: list[list[int]] = []
    used = budget + 1
    for k, cost in enumerate(costs):
        extra = cost - saved[k]
        if parts and used + extra <= budget:
            parts[-1].append(k)
            used += extra
        else:
            parts.append([k])
            used = cost
    return parts


def _cost(costs: list[int], saved: list[int], part: list[int]) -> int:
    return costs[part[0]] + sum(costs[k] - saved[k] for k in part[1:])
