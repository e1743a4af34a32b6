"""A mixture of base and tuned is the mean of their weights, for whole networks and for adapters."""

import copy
from typing import Any

import pytest
import torch
from invariants.families import BY_FOREST, build

from tunesmith.models.adapters import adapted
from tunesmith.models.methods import apply
from tunesmith.models.settings import Full, Lora, Method
from tunesmith.training.averaging import Between


def moved(method: Method) -> tuple[Any, Any, Any]:
    """A base, the same model after it has moved, and what of it trains."""
    base = build(BY_FOREST["Llama"]())
    model = copy.deepcopy(base)
    applied = apply(method, model, seed=1)
    torch.manual_seed(3)
    with torch.no_grad():
        for _, parameter in applied.trainable:
            parameter.add_(0.1 * torch.randn_like(parameter))
    return base, model, applied


def weights(model: Any) -> dict[str, torch.Tensor]:
    return {name: p.detach().clone() for name, p in model.named_parameters()}


def test_of_whole_parameters_the_mixture_is_the_mean_of_both_ends() -> None:
    base, model, applied = moved(Full())
    before, after = weights(base), weights(model)
    between = Between(applied.trainable, before)
    between.set((0.25, 0.25, 0.25))
    for name, p in model.named_parameters():
        torch.testing.assert_close(p.detach(), 0.75 * before[name] + 0.25 * after[name])
    between.set((1, 1, 1))
    assert all(torch.equal(p, after[name]) for name, p in model.named_parameters())
    between.set((0, 0, 0))
    assert all(torch.equal(p, before[name]) for name, p in model.named_parameters())


def test_of_an_adapter_the_mixture_is_that_of_the_whole_matrices() -> None:
    _, model, applied = moved(Lora(rank=2))
    whole = {name: layer.change().detach().clone() for name, layer in adapted(model).items()}
    Between(applied.trainable, {}).set((0.3, 0.3, 0.3))
    for name, layer in adapted(model).items():
        torch.testing.assert_close(layer.change().detach(), 0.3 * whole[name])


@pytest.mark.parametrize(("part", "moving"), [(0, "embed_tokens"), (2, "model.norm")])
def test_a_third_of_the_layers_moves_alone(part: int, moving: str) -> None:
    base, model, applied = moved(Full())
    before = weights(base)
    shares = [1.0, 1.0, 1.0]
    shares[part] = 0.0
    Between(applied.trainable, before).set(shares)
    back = {name for name, p in model.named_parameters() if torch.equal(p, before[name])}
    layers = len(model.model.layers)
    first, last = part * layers // 3, -(-(part + 1) * layers // 3)
    assert any(moving in name for name in back)
    assert {name.split(".layers.")[1].split(".")[0] for name in back if ".layers." in name} <= {
        str(i) for i in range(first, last)
    }
    assert len(back) < len(before)
