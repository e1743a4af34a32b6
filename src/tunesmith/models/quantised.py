"""Frozen matrices in four bits, for adapters beside them: QLoRA (Dettmers et al., 2023, https://arxiv.org/abs/2305.14314).

The decision: NF4 in blocks of 64 with doubly quantised scales, as bitsandbytes stores it, and one meaning everywhere: a
quantised layer *is* a layer with the dequantised matrix. Forward, backward, merging and export all read that matrix, so
an adapter trained beside it is merged into it exactly. The matrix is made anew for each product; with large
micro-batches that costs little beside the product itself.
"""

from importlib import import_module
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from tunesmith.errors import RecipeError

BLOCK = 64


class Nf4Linear(nn.Module):
    """x [*, I] → x · weightᵀ + bias [*, O], with `weight` kept in four bits; nothing of it trains."""

    def __init__(self, linear: nn.Linear) -> None:
        super().__init__()
        weight = linear.weight.detach()
        packed, self.state = bitsandbytes().quantize_4bit(
            weight.contiguous(), blocksize=BLOCK, compress_statistics=True, quant_type="nf4"
        )
        self.packed: Tensor
        self.register_buffer("packed", packed, persistent=False)
        self.bias = linear.bias
        self.shape, self.dtype = weight.shape, weight.dtype

    @property
    def weight(self) -> Tensor:
        """The dequantised matrix [O, I], made anew."""
        found: Tensor = bitsandbytes().dequantize_4bit(self.packed, self.state)
        return found.to(self.dtype)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = _Product.apply(x, self)  # type: ignore[no-untyped-call]
        return out if self.bias is None else out + self.bias

    def _apply(self, fn: Any, recurse: bool = True) -> "Nf4Linear":
        super()._apply(fn, recurse)  # type: ignore[no-untyped-call]
        self.state.to(self.packed.device)
        return self

    def plain(self) -> nn.Linear:
        """A layer of its own with the dequantised matrix."""
        outputs, inputs = self.shape
        made = nn.Linear(inputs, outputs, bias=self.bias is not None, device="meta")
        made.weight = nn.Parameter(self.weight, requires_grad=False)
        if self.bias is not None:
            made.bias = self.bias
        return made


class _Product(torch.autograd.Function):
    """x · weightᵀ; the matrix is made again for the backward, so that no layer keeps its own."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, layer: Nf4Linear) -> Tensor:
        ctx.layer = layer
        return x @ layer.weight.t()

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        return grad @ ctx.layer.weight, None


def quantise(linear: nn.Module) -> nn.Module:
    """The layer with its matrix in four bits; a layer that is no plain linear one stays as it is."""
    return Nf4Linear(linear) if type(linear) is nn.Linear else linear


def parameters_in_four_bits(model: nn.Module) -> int:
    """How many parameters the model holds in quantised layers, which torch does not count."""
    return sum(module.shape.numel() for module in model.modules() if isinstance(module, Nf4Linear))


def bitsandbytes() -> Any:
    """The functions of bitsandbytes.

    Raises:
        RecipeError: it is not installed.
    """
    try:
        return import_module("bitsandbytes.functional")
    except ImportError as error:
        raise RecipeError(
            "method.quantize: matrices in four bits need the package bitsandbytes. Install it with "
            "`pip install 'tunesmith[qlora]'`, or leave method.quantize out."
        ) from error
