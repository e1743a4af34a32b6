"""How much each target counts beside its own weight, by what the model thinks of it at this moment.

The decision: a factor changes the gradient alone, never the loss that is written down, so runs with and without one
compare. The weight of a step stays that of its targets: where the model is sure, a step is simply smaller.
"""

import math
from dataclasses import replace

import torch
from torch import Tensor

from tunesmith.training.settings import TokenWeighting
from tunesmith.training.targets import Targets

CANDIDATES = 20
"""The likeliest tokens whose entropy stands for that of all."""


def weighted(logits: Tensor, targets: Targets, kind: TokenWeighting) -> Targets:
    """The targets, each weight times its factor under `logits` [U, V]; no gradient goes through a factor.

    `probability` is the model's own of the target: DFT (Wu et al., 2025, https://arxiv.org/abs/2508.05629), which
    learns little from targets that the model finds absurd. `entropy` is that of the 20 likeliest tokens over its
    largest, 0 to 1: EAFT (Diao et al., 2026, https://arxiv.org/abs/2601.02151), which learns little where the model is
    sure, of the target or of something else.
    """
    if kind == "none":
        return targets
    with torch.no_grad():
        log_p = torch.log_softmax(logits.float(), dim=-1)
        if kind == "probability":
            factor = log_p[targets.row_of, targets.target].exp()
        else:
            likely = log_p.topk(min(CANDIDATES, log_p.shape[-1]), dim=-1).values.log_softmax(dim=-1)
            entropy = -(likely.exp() * likely).sum(dim=-1) / math.log(likely.shape[-1])
            factor = entropy[targets.row_of]
        return replace(targets, weight=targets.weight * factor)
