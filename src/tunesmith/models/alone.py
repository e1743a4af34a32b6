"""Generation by transformers' own loop, one sequence at a time, for models that the reader does not compute exactly.

The decision: transformers knows how every architecture of its own keeps its state; only the choice of the next token is
the caller's, so an answer is the same function of the logits here and there. The defaults that a model folder brings
for generation (penalties, sampling) are set aside: settings that nobody named must not change a measurement.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from transformers import GenerationConfig, LogitsProcessor, LogitsProcessorList

from tunesmith.models.reader import own_attention


@dataclass(frozen=True, slots=True)
class _Choice(LogitsProcessor):
    """Leaves only the token that the caller chooses."""

    choose: Callable[[Tensor], int]

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        only = torch.full_like(scores, float("-inf"))
        only[0, self.choose(scores)] = 0
        return only


def go_on(
    model: Any, prompt: Sequence[int], limit: int, stop_ids: frozenset[int], choose: Callable[[Tensor], int]
) -> list[int]:
    """The tokens after `prompt`, at most `limit`; an end token, if one was chosen, stands last.

    `choose` is given the logits [1, V] of each place in turn, and names the token.
    """
    ids = torch.tensor([list(prompt)], device=next(model.parameters()).device)
    config = GenerationConfig(  # type: ignore[no-untyped-call]
        max_new_tokens=limit, do_sample=False, num_beams=1, eos_token_id=sorted(stop_ids) or None, pad_token_id=0
    )
    with _own_defaults(model), own_attention(model), torch.no_grad():
        whole = model.generate(
            ids,
            attention_mask=torch.ones_like(ids),
            generation_config=config,
            logits_processor=LogitsProcessorList([_Choice(choose)]),
        )
    return whole[0, len(prompt) :].tolist()  # type: ignore[no-any-return]


@contextmanager
def _own_defaults(model: Any) -> Iterator[None]:
    """The model in evaluation mode and without generation defaults of its own; afterwards as it was."""
    kept, training = model.generation_config, model.training
    model.generation_config = GenerationConfig()  # type: ignore[no-untyped-call]
    model.eval()
    try:
        yield
    finally:
        model.generation_config = kept
        model.train(training)
