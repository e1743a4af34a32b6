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

Heard = tuple[Callable[[int], None], Callable[[Sequence[int]], bool]]


def answer(
    model: Any,
    prompt: Sequence[int],
    limit: int,
    settings: GenerationSettings,
    stop_ids: frozenset[int],
    number: int,
    heard: Heard | None = None,
) -> list[int]:
    """The tokens after prompt `number`, at most `limit`; an end token, if one was chosen, stands last.

    The first of `heard` is called for every token as it is chosen, the end token excluded; the second says of all of
    them whether the answer is at its end.
    """
    on_token, ended = heard or (lambda _: None, lambda _: False)
    made: list[int] = []

    def choose(logits: Tensor) -> int:
        if stop_ids and ended(made):  # transformers' loop ends by an end token alone
            return min(stop_ids)
        (token,) = chosen(logits, settings, [(number, len(made))])
        made.append(token)
        if token not in stop_ids:
            on_token(token)
        return token

    return go_on(model, prompt, limit, stop_ids, choose)
