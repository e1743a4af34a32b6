"""One answer by transformers' own loop, with our choice of tokens.

The decision: a model that the reader does not compute exactly differs in how it is run, never in how its next token is
chosen.
"""

from collections.abc import Callable, Sequence
from typing import Any

from torch import Tensor

from tunesmith.generation.sampling import chosen
from tunesmith.generation.settings import GenerationSettings
from tunesmith.models.alone import go_on


def answer(
    model: Any,
    prompt: Sequence[int],
    limit: int,
    settings: GenerationSettings,
    stop_ids: frozenset[int],
    number: int,
    on_token: Callable[[int], None],
) -> list[int]:
    """The tokens after prompt `number`, at most `limit`; an end token, if one was chosen, stands last.

    `on_token` is called for every token as it is chosen, the end token excluded.
    """
    made = 0

    def choose(logits: Tensor) -> int:
        nonlocal made
        (token,) = chosen(logits, settings, [(number, made)])
        made += 1
        if token not in stop_ids:
            on_token(token)
        return token

    return go_on(model, prompt, limit, stop_ids, choose)
