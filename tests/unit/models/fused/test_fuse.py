"""Fused modules are those that were proven, compute the same, and leave the model as it was."""

from collections import Counter
from typing import Any

import numpy as np
import pytest
import torch
from invariants.families import BY_FOREST, build
from torch import nn

from tunesmith.batches.forest import PrefixForest
from tunesmith.data.example import Origin
from tunesmith.models.attention import Layout
from tunesmith.models.forward import Network
from tunesmith.models.fused.embedding import FusedEmbedding
from tunesmith.models.fused.fuse import fuse, unfuse
from tunesmith.models.fused.norm import FusedNorm, Source
from tunesmith.models.methods import apply
from tunesmith.models.probe import probe
from tunesmith.models.settings import Frozen, Lora
from tunesmith.tokens.encoded import EncodedExample


def fused(model: nn.Module) -> dict[str, int]:
    """How many modules of each kind run fused."""
    return Counter(type(m.__dict__["forward"]).__name__ for m in model.modules() if "forward" in m.__dict__)


@pytest.mark.parametrize(
    ("family", "expected"),
    [
        ("Llama", {"FusedEmbedding": 1, "FusedNorm": 7, "FusedMlp": 3, "FusedAttention": 3}),
        ("Qwen3", {"FusedEmbedding": 1, "FusedNorm": 13, "FusedMlp": 3, "FusedAttention": 3}),
        ("GPT-2", {"FusedEmbedding": 2}),
    ],
)
def test_a_family_is_fused_where_it_is_proven(family: str, expected: dict[str, int]) -> None:
    model = build(BY_FOREST[family]())
    names = list(model.state_dict())
    probe(model, longest=20)
    assert fused(model) == expected
    assert list(model.state_dict()) == names
    unfuse(model)
    assert not fused(model)


class Centred(nn.Module):
    """Looks like a norm and is none."""

    def __init__(self) -> None:
        super().__init__()
        self.weight, self.eps = nn.Parameter(torch.ones(8)), 1e-5

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = x - x.mean(-1, keepdim=True)
        return x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + self.eps) * self.weight


def test_a_module_that_only_looks_like_one_of_ours_keeps_its_forward() -> None:
    model = Centred()
    assert FusedNorm.candidates(model, model.forward)
    assert fuse(model, lambda: model(torch.randn(3, 8))) == 0


def test_a_candidate_that_hands_on_to_the_module_proves_nothing() -> None:
    class Norm(Centred):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + self.eps) * self.weight

    model = Norm()
    assert fuse(model, lambda: model(torch.randn(3, 8).double())) == 0
    assert fuse(model, lambda: model(torch.randn(3, 8))) == 1


def test_the_padding_row_of_an_embedding_is_not_taught() -> None:
    plain, other = nn.Embedding(9, 4, padding_idx=2), nn.Embedding(9, 4, padding_idx=2)
    other.load_state_dict(plain.state_dict())
    other.__dict__["forward"] = FusedEmbedding(other, other.forward)
    ids = torch.tensor([[1, 2, 1, 5]])
    for module in (plain, other):
        for _ in range(2):
            (module(ids) * torch.arange(4.0)).sum().backward()
    assert torch.equal(plain.weight.grad, other.weight.grad)


@pytest.mark.parametrize("method", [Lora(rank=4), Lora(rank=4, targets=("q_proj", "down_proj")), Frozen(layers=2)])
def test_a_method_gets_the_gradient_of_the_unfused_model(method: Any) -> None:
    model = build(BY_FOREST["Llama"]())
    network = probe(model, longest=20).network
    applied = apply(method, model, seed=0)
    for name, parameter in applied.trainable:
        if "lora_B" in name:
            nn.init.normal_(parameter, std=0.02)
    ids = torch.randint(3, 128, (1, 12), generator=torch.Generator().manual_seed(1))
    found = []
    for together in (True, False):
        if not together:
            unfuse(model)
            model.set_attn_implementation("eager")
        out = network.model(input_ids=ids, use_cache=False).logits if not together else _logits(network, ids)
        out.pow(2).mean().backward()
        found.append([p.grad for _, p in applied.trainable])
        model.zero_grad()
    for ours, theirs in zip(*found, strict=True):
        assert (ours - theirs).norm() <= 1e-5 * theirs.norm()


def _logits(network: Any, ids: torch.Tensor) -> torch.Tensor:
    """The logits of every row by forest."""
    tokens = np.array([*ids[0].tolist(), 3], np.int32)  # the last one is predicted alone
    batch = PrefixForest([EncodedExample(tokens, (tokens > 0).astype(np.float32), Origin("made", 1))]).batch()
    return network.model(input_ids=ids, use_cache=False, forest=Layout.of(batch)).logits  # type: ignore[no-any-return]


@pytest.mark.parametrize("family", ["Llama", "Qwen3"])
def test_what_a_norm_gave_is_kept_by_nobody(family: str) -> None:
    model = build(BY_FOREST[family]())
    probe(model, longest=20)
    apply(Lora(rank=2), model, seed=0)
    given: list[torch.Tensor] = []
    kept: list[torch.Tensor] = []

    def look(_: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        given.append(args[0] if args else kwargs["hidden_states"])

    for layer in model.model.layers:
        layer.self_attn.register_forward_pre_hook(look, with_kwargs=True)
        layer.mlp.register_forward_pre_hook(look, with_kwargs=True)
    with torch.autograd.graph.saved_tensors_hooks(lambda z: kept.append(z) or z, lambda z: z):
        _logits(Network(model, True, None), torch.randint(3, 128, (1, 12)))
    places = {z.data_ptr() for z in kept}
    normed = [rows for rows in given if Source.of(rows).inverse is not None]
    assert len(given) == 6
    assert len(normed) == 5  # below the first layer nothing trains
    for rows in normed:
        assert torch.equal(Source.of(rows).rows(), rows)
        assert rows.data_ptr() not in places
        assert Source.of(rows).x.data_ptr() in places
