from typing import Any

import torch
import transformers

from tunesmith.models import trial
from tunesmith.models.forward import use_attention
from tunesmith.models.head import Head
from tunesmith.models.trial import refusal


def tiny(seed: int = 0) -> Any:
    """A random Llama of one layer."""
    config = transformers.LlamaConfig(
        vocab_size=64, hidden_size=32, intermediate_size=48, num_hidden_layers=1, num_attention_heads=2,
        num_key_value_heads=1, initializer_range=0.3,
    )  # fmt: skip
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return transformers.LlamaForCausalLM(config).eval()  # type: ignore[no-untyped-call]


def test_a_model_that_passes_is_tried_once(monkeypatch: Any) -> None:
    model = tiny()
    assert refusal(model, longest=10) is None
    monkeypatch.setattr(trial, "_refusal", lambda _: "tried again")
    assert refusal(model, longest=10) is None


def test_a_network_that_trains_as_a_forest_is_tried_with_its_own_attention() -> None:
    model = tiny()
    use_attention(model, forest=True)
    assert refusal(model, longest=10) is None


def test_a_head_that_is_not_one_matrix_is_refused() -> None:
    model = tiny()
    model.lm_head = torch.nn.Sequential(model.lm_head)
    assert Head.of(model) is None
    assert refusal(model, longest=10) == "its output is not one plain matrix"


def test_a_model_that_computes_something_else_is_refused() -> None:
    model = tiny()
    model.config.logit_scale = 2.0  # our head honours it, this family does not
    assert str(refusal(model, longest=10)).startswith("it differs by")
