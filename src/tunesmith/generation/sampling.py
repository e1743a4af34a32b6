"""Which token comes next.

The decision: a draw is a pure function of (seed, place of the prompt, place of the token) and of the distribution. So
an answer does not change with what is generated beside it.
"""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from tunesmith.generation.settings import GenerationSettings

Place = tuple[int, int]
"""(which prompt, how many tokens of its answer are there already)."""


def chosen(logits: Tensor, settings: GenerationSettings, places: Sequence[Place]) -> list[int]:
    """The next token of each row of `logits` [B, V]: the likeliest, or drawn after temperature and top-p.

    Equal logits go to the smaller token id when the likeliest is taken.
    """
    if settings.temperature == 0:
        return logits.argmax(-1).tolist()
    probability = torch.softmax(logits.float() / settings.temperature, -1)
    if torch.are_deterministic_algorithms_enabled():  # a GPU then refuses running sums
        probability = probability.cpu()
    draws = torch.tensor([draw(settings.seed, place) for place in places], device=probability.device)[:, None]
    if settings.top_p == 1:  # every token counts, so none has to find its rank: sorting costs as much as the model
        reached = probability.cumsum(-1)
        return torch.searchsorted(reached, draws * reached[:, -1:]).squeeze(-1).tolist()
    ordered, tokens = probability.sort(dim=-1, descending=True, stable=True)
    reached = ordered.cumsum(-1)
    # A token counts while those before it have not reached top-p, so the likeliest always stays.
    reached = reached.masked_fill(reached - ordered >= settings.top_p, 0).cummax(-1).values
    position = torch.searchsorted(reached, (draws * reached[:, -1:]).to(reached.dtype), right=True)
    last = reached.argmax(-1, keepdim=True)  # rounding must not lead past the last token that counts
    return tokens.gather(-1, position.minimum(last)).squeeze(-1).tolist()


def draw(seed: int, place: Place) -> float:
    """A number in 0..1 (1 excluded) that depends on nothing but its arguments (Philox, Salmon et al., 2011)."""
    return float(np.random.Generator(np.random.Philox(key=seed, counter=[0, 0, *place])).random())
