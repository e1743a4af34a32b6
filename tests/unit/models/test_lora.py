"""An adapter costs little and randomness in it is on only where a gradient is."""

import pytest
import torch
from torch import nn

from tunesmith.models.lora import LoraLinear


def layer(dropout: float = 0.0) -> LoraLinear:
    base = nn.Linear(6, 5).requires_grad_(False)
    made = LoraLinear(base, 2, 0.5, dropout=dropout)
    made.start(torch.Generator().manual_seed(0))
    nn.init.ones_(made.lora_B)
    return made


def test_gradient_agrees_with_finite_differences() -> None:
    made = layer().double()
    x = torch.randn(3, 6, dtype=torch.float64, generator=torch.Generator().manual_seed(1), requires_grad=True)
    assert torch.autograd.gradcheck(lambda *_: made(x), (x, made.lora_A, made.lora_B))


def test_the_frozen_matrix_and_an_input_that_nobody_trains_get_no_gradient() -> None:
    made = layer()
    x = torch.ones(3, 6)
    made(x).sum().backward()
    assert made.base.weight.grad is None
    assert x.grad is None
    assert made.lora_A.grad is not None


def test_only_the_input_and_one_narrow_product_are_kept() -> None:
    made, kept = layer(), []
    x = torch.ones(4, 6, requires_grad=True)

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        kept.append(tuple(tensor.shape))
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        made(x)
    assert sorted(kept) == [(2, 6), (4, 2), (4, 6), (5, 2)]


def test_the_effective_matrix_is_what_the_layer_multiplies_by() -> None:
    made = layer()
    x = torch.randn(3, 6, generator=torch.Generator().manual_seed(1))
    torch.testing.assert_close(nn.functional.linear(x, made.weight, made.bias), made(x))


@pytest.mark.parametrize("training", [True, False])
def test_dropout_is_on_exactly_where_a_gradient_is_recorded(training: bool) -> None:
    made = layer(dropout=0.9).train(training)
    x = torch.ones(50, 6)
    with torch.no_grad():
        expected = made(x)
        assert torch.equal(made(x), expected)
    torch.manual_seed(0)
    assert not torch.equal(made(x), expected)


def test_half_precision_stays_half_precision() -> None:
    made = LoraLinear(nn.Linear(6, 5).bfloat16(), 2, 0.5)
    out = made(torch.ones(3, 6, dtype=torch.bfloat16))
    out.sum().backward()
    assert out.dtype == torch.bfloat16
    assert made.lora_B.grad is not None
    assert made.lora_B.grad.dtype == torch.float32
