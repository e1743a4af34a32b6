"""Blocks that are computed again give the loss and gradient of those that keep everything."""

from typing import Any

import pytest
import torch
from invariants.families import BY_FOREST, build
from invariants.test_forest_equals_alone import LONGEST, examples

from tunesmith.models.methods import apply
from tunesmith.models.probe import probe
from tunesmith.models.recompute import recompute
from tunesmith.models.settings import Frozen, Full, Lora, Method
from tunesmith.training.step import Pass, backward


def step(family: str, method: Method, *, count: int) -> tuple[Any, int]:
    """Loss and gradients of a step of which `count` blocks are computed again, and how many blocks ran in all."""
    model = build(BY_FOREST[family]())
    network = probe(model, longest=LONGEST).network
    applied = apply(method, model, seed=0)
    draws = isinstance(method, Lora) and method.dropout > 0
    recompute(model, count, lowest_trained=applied.lowest_trained_layer, draws=draws)
    ran = []
    for layer in model.model.layers:
        layer.input_layernorm.register_forward_pre_hook(lambda *_: ran.append(1))
    how = Pass(4096, sharing=not draws)
    measured = backward(network, examples(), how, dropout_seed=1 if draws else None)
    return (measured.loss, {n: p.grad for n, p in applied.trainable}), len(ran)


@pytest.mark.parametrize("method", [Full(), Lora(rank=2), Lora(rank=2, dropout=0.3)], ids=["full", "lora", "dropout"])
def test_computing_blocks_again_changes_no_bit_of_loss_or_gradient(method: Method) -> None:
    (loss, grads), once = step("Qwen3", method, count=0)
    for count in (1, 3):
        (again, found), ran = step("Qwen3", method, count=count)
        assert again == loss
        assert all(torch.equal(found[name], grad) for name, grad in grads.items())
        assert ran == once + count


def test_blocks_below_the_lowest_trained_one_are_not_computed_again() -> None:
    (_, _), once = step("Llama", Frozen(layers=2), count=0)
    (_, _), ran = step("Llama", Frozen(layers=2), count=3)
    assert ran == once + 1
