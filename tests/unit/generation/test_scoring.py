from typing import Any

import pytest
import torch

from tunesmith.errors import UsageError
from tunesmith.generation import scoring
from tunesmith.generation.scoring import Choice, log_probabilities
from tunesmith.models.attention import NAME
from tunesmith.models.forward import Network, use_attention
from tunesmith.models.head import Head

SYSTEM = list(range(60, 80))
CHOICES = [
    Choice([*SYSTEM, 5, 6], [[1, 2, 3], [1, 2, 4], [9]]),
    Choice([*SYSTEM, 7], [[1, 2, 3], [8, 8]]),
    Choice([30], [[31]]),
]


@pytest.fixture(params=[True, False])
def network(llama: Any, request: pytest.FixtureRequest) -> Any:
    """The model as a forest, and alone."""
    own = llama.config._attn_implementation
    use_attention(llama, forest=request.param, own=own)
    yield Network(llama, request.param, Head.of(llama))
    use_attention(llama, forest=False, own="sdpa" if own == NAME else own)


def alone(llama: Any, prompt: list[int], option: list[int]) -> float:
    ids = torch.tensor([[*prompt, *option]])
    with torch.no_grad():
        log_p = llama(input_ids=ids).logits[0].log_softmax(-1)
    return sum(float(log_p[len(prompt) + i - 1, token]) for i, token in enumerate(option))


def test_each_option_has_the_probability_it_has_alone(network: Network) -> None:
    found = log_probabilities(network, CHOICES)
    use_attention(network.model, forest=False, own="sdpa")
    expected = [[alone(network.model, list(c.prompt), list(o)) for o in c.options] for c in CHOICES]
    for ours, theirs in zip(found, expected, strict=True):
        assert ours == pytest.approx(theirs, rel=1e-5)


def test_a_smaller_budget_changes_nothing(network: Network, monkeypatch: pytest.MonkeyPatch) -> None:
    found = log_probabilities(network, CHOICES)
    monkeypatch.setattr(scoring, "TOKENS_AT_ONCE", 8)
    for small, large in zip(log_probabilities(network, CHOICES), found, strict=True):
        assert small == pytest.approx(large, rel=1e-5)


def test_what_cannot_be_scored_is_refused(network: Network) -> None:
    with pytest.raises(UsageError, match="at least one token"):
        log_probabilities(network, [Choice([1], [[]])])
