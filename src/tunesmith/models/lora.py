"""LoraLinear: a frozen matrix with a low-rank one beside it.

The decision: our own backward. It keeps the input and one product of `rank` columns per token, makes no gradient for
the frozen matrix, and none for the input where nobody below trains; everything else of an adapter (its file format, its
names, its start) is PEFT's. Hu et al., 2021, https://arxiv.org/abs/2106.09685.

Letters: I inputs, O outputs, r rank, T tokens.
"""

import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Self

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from transformers.pytorch_utils import Conv1D

from tunesmith.models.quantised import Nf4Linear


class AdapterDropout(nn.Dropout):
    """Dropout that is on exactly where a gradient is recorded, so measuring and generating never draw.

    The base stays in evaluation mode while it is trained; hence the mode of the model must not switch this off.
    """

    def train(self, mode: bool = True) -> Self:
        return super().train(True)

    def forward(self, input: Tensor) -> Tensor:
        return super().forward(input) if torch.is_grad_enabled() else input


@contextmanager
def undropped(model: nn.Module) -> Iterator[None]:
    """Inside the block the dropout of adapters drops nothing."""
    before = {m: m.p for m in model.modules() if isinstance(m, AdapterDropout)}
    for dropout in before:
        dropout.p = 0.0
    try:
        yield
    finally:
        for dropout, share in before.items():
            dropout.p = share


class LoraLinear(nn.Module):
    """x [*, I] → base(x) + scaling * (x · lora_Aᵀ) · lora_Bᵀ  [*, O].

    `base` is an nn.Linear, or GPT-2's Conv1D with its transposed matrix. lora_A [r, I] and lora_B [O, r] are float32
    whatever the base is; lora_B starts at zero, so the first forward is the base's own.
    """

    def __init__(self, base: nn.Module, rank: int, scaling: float, *, dropout: float = 0.0) -> None:
        super().__init__()
        outputs, inputs = matrix(base).shape
        self.base = base
        self.scaling = scaling
        self.enabled = True
        self.lora_A = nn.Parameter(torch.zeros(rank, inputs, dtype=torch.float32, device=_weight(base).device))
        self.lora_B = nn.Parameter(torch.zeros(outputs, rank, dtype=torch.float32, device=_weight(base).device))
        self.dropout = AdapterDropout(dropout) if dropout else None

    def start(self, generator: torch.Generator) -> None:
        """Draw lora_A as PEFT does (uniform within ±1/sqrt(I), He et al.'s rule with a = sqrt(5)); lora_B is zero."""
        bound = 1 / math.sqrt(self.lora_A.shape[1])
        drawn = torch.empty(self.lora_A.shape).uniform_(-bound, bound, generator=generator)
        with torch.no_grad():
            self.lora_A.copy_(drawn)
            self.lora_B.zero_()

    def forward(self, x: Tensor) -> Tensor:
        if not self.enabled:
            return self.base(x)  # type: ignore[no-any-return]
        dropped = self.dropout is not None and torch.is_grad_enabled()
        if dropped or torch.compiler.is_compiling():  # what torch compiles, it fuses itself
            a, b = self.lora_A.to(x.dtype), self.lora_B.to(x.dtype)
            low = nn.functional.linear(self.dropout(x) if self.dropout is not None else x, a)
            return torch.add(self.base(x), nn.functional.linear(low, b), alpha=self.scaling)
        out: Tensor = _LowRank.apply(x, self.lora_A, self.lora_B, self.base, self.scaling)  # type: ignore[no-untyped-call]
        return out

    @property
    def weight(self) -> Tensor:
        """The effective matrix in the base's own layout, differentiable, for code that reads it directly (Mamba)."""
        weight = _weight(self.base)
        if not self.enabled:
            return weight
        change = self.change().to(weight.dtype)
        return weight + (change.t() if isinstance(self.base, Conv1D) else change)

    @property
    def bias(self) -> Tensor | None:
        """The base's bias."""
        return self.base.bias  # type: ignore[return-value]

    def change(self) -> Tensor:
        """What the adapter adds to the matrix: scaling * lora_B · lora_A, float32 [O, I]."""
        return self.lora_B @ self.lora_A * self.scaling

    @torch.no_grad()
    def merged(self) -> nn.Module:
        """The base with the adapter's change added to its matrix, in place; of one in four bits, the dequantised."""
        base = self.base.plain() if isinstance(self.base, Nf4Linear) else self.base
        matrix(base).copy_((matrix(base).float() + self.change()).to(_weight(base).dtype))
        return base


def matrix(linear: nn.Module) -> Tensor:
    """The matrix [O, I] of a linear layer, as a view."""
    return as_matrix(linear, _weight(linear))


def as_matrix(linear: nn.Module, values: Tensor) -> Tensor:
    """Values in the layout of the layer's weight as a matrix [O, I]."""
    return values.t() if isinstance(linear, Conv1D) else values


def _weight(linear: nn.Module) -> Tensor:
    weight: Tensor = linear.weight  # type: ignore[assignment]
    return weight


class _LowRank(torch.autograd.Function):
    """The adapted product; saves x and x·Aᵀ, which has only r columns."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, a: Tensor, b: Tensor, base: nn.Module, scaling: float) -> Tensor:
        out: Tensor = base(x)
        low = x.reshape(-1, x.shape[-1]) @ a.to(x.dtype).t()
        out.view(-1, out.shape[-1]).addmm_(low, b.to(x.dtype).t(), alpha=scaling)
        ctx.save_for_backward(x, low, a, b)
        ctx.base, ctx.scaling = base, scaling
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        x, low, a, b = ctx.saved_tensors
        g, flat = grad.reshape(-1, grad.shape[-1]), x.reshape(-1, x.shape[-1])
        through = (g @ b.to(g.dtype)).mul_(ctx.scaling)
        grad_a = (through.t() @ flat).to(a.dtype)
        grad_b = (low.t() @ g).t().mul(ctx.scaling).to(b.dtype)  # a third faster than g.t() @ low where O is large
        if not ctx.needs_input_grad[0]:
            return None, grad_a, grad_b, None, None
        grad_x = (g @ matrix(ctx.base)).addmm_(through, a.to(g.dtype))
        return grad_x.view_as(x), grad_a, grad_b, None, None
