import copy
from typing import Any

import numpy as np
import pytest
import torch
import transformers

from tunesmith.errors import UsageError
from tunesmith.evaluation import retention as module
from tunesmith.evaluation.retention import as_text, own_text, retention
from tunesmith.models.adapters import adapted
from tunesmith.models.forward import Network, use_attention
from tunesmith.models.head import Head
from tunesmith.models.methods import apply
from tunesmith.models.settings import Lora

TEXT = [as_text([1, 5, 6, 7, 8]), as_text([1, 9, 10]), as_text([1, 5, 6, 11, 12, 13])]


def tiny() -> Any:
    """A random Llama of one layer."""
    config = transformers.LlamaConfig(
        vocab_size=64, hidden_size=32, intermediate_size=48, num_hidden_layers=1, num_attention_heads=2,
        num_key_value_heads=1, initializer_range=0.3, max_position_embeddings=64,
    )  # fmt: skip
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return transformers.LlamaForCausalLM(config).eval()  # type: ignore[no-untyped-call]


def network(model: Any) -> Network:
    use_attention(model, forest=True)
    return Network(model, True, Head.of(model))


def moved(model: Any) -> Any:
    """The model after a random change."""
    other = copy.deepcopy(model)
    with torch.random.fork_rng(), torch.no_grad():
        torch.manual_seed(1)
        for parameter in other.parameters():
            parameter.add_(0.05 * torch.randn_like(parameter))
    return other


def test_the_base_has_forgotten_nothing() -> None:
    model = tiny()
    found = retention(network(model), network(copy.deepcopy(model)), TEXT)
    assert found.kl.value == pytest.approx(0, abs=1e-6)
    assert found.forgotten.value == 0
    assert not found.worse
    assert found.tokens == 11


def test_loss_and_kl_are_those_of_torch(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_TILE", 3)
    base = tiny()
    tuned = moved(base)
    kl, before, after = 0.0, 0.0, 0.0
    for example in TEXT:
        ids = torch.from_numpy(example.ids.astype(np.int64))[None]
        with torch.no_grad():
            p, q = (m(input_ids=ids).logits[0, :-1].log_softmax(-1) for m in (base, tuned))
        kl += float(torch.nn.functional.kl_div(q, p, log_target=True, reduction="sum"))
        before += float(torch.nn.functional.nll_loss(p, ids[0, 1:], reduction="sum"))
        after += float(torch.nn.functional.nll_loss(q, ids[0, 1:], reduction="sum"))
    found = retention(network(tuned), network(base), TEXT)
    assert found.kl.value == pytest.approx(kl / 11, rel=1e-4)
    assert found.base.value == pytest.approx(before / 11, rel=1e-5)
    assert found.tuned.value == pytest.approx(after / 11, rel=1e-5)
    assert found.forgotten.value == pytest.approx((after - before) / 11, rel=1e-3)


def test_an_adapter_is_measured_against_itself_turned_off() -> None:
    base = tiny()
    tuned = copy.deepcopy(base)
    apply(Lora(rank=2), tuned, seed=0)
    with torch.no_grad():
        for layer in adapted(tuned).values():
            layer.lora_B.fill_(0.05)
    alone = retention(network(tuned), None, TEXT)
    beside = retention(network(tuned), network(base), TEXT)
    assert alone.kl.value > 0
    assert alone.kl.value == pytest.approx(beside.kl.value, rel=1e-4)


def test_the_base_writes_the_same_text_for_the_same_seed() -> None:
    model = tiny()
    first, again, other = (own_text(model, 1, frozenset({2}), tokens=70, seed=s) for s in (3, 3, 4))
    assert sum(len(example) - 1 for example in first) >= 70
    assert [e.ids.tolist() for e in first] == [e.ids.tolist() for e in again]
    assert [e.ids.tolist() for e in first] != [e.ids.tolist() for e in other]
    assert all(e.ids[0] == 1 and e.weights[0] == 0 and e.weights[1:].all() for e in first)


def test_a_model_that_writes_nothing_is_told_what_to_do() -> None:
    with pytest.raises(UsageError, match="file of general text"):
        own_text(tiny(), 1, frozenset(range(64)), tokens=10)


def test_no_text_is_refused() -> None:
    with pytest.raises(UsageError, match="there is none"):
        retention(network(tiny()), None, [])
