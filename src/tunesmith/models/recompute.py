"""Blocks whose inner activations are made again in the backward instead of kept (Chen et al., 2016,
https://arxiv.org/abs/1604.06174).

The decision: whole blocks, and as many as memory asks for. Between none and all of them every number is a choice, so no
more is computed twice than must be; which it is, is decided from shapes before the first step and said (`run.memory`).
The same operations run on the same numbers, so loss and gradient stay what they are, to the bit.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch.utils.checkpoint import checkpoint

from tunesmith.models.methods import decoder_layers


class Recomputed:
    """A block's forward that keeps nothing but its input where a gradient is recorded."""

    def __init__(self, plain: Callable[..., Any], *, draws: bool) -> None:
        self.plain, self.draws = plain, draws

    def __call__(self, *args: Any, **given: Any) -> Any:
        if not torch.is_grad_enabled():
            return self.plain(*args, **given)
        return checkpoint(self.plain, *args, use_reentrant=False, preserve_rng_state=self.draws, **given)


def recompute(model: Any, count: int, *, lowest_trained: int = 0, draws: bool = False) -> int:
    """Let `count` blocks from the lowest trained one on be computed again in the backward; how many it came to.

    Blocks below keep nothing anyhow. `draws` says that a block draws random numbers (dropout), which have to be the
    same again.
    """
    layers = decoder_layers(model)[1][lowest_trained:][:count]
    for layer in layers:
        layer.__dict__["forward"] = Recomputed(layer.forward, draws=draws)
    return len(layers)
