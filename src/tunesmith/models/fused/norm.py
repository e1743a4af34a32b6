"""Root mean square normalisation with a backward of its own (Zhang & Sennrich, 2019, https://arxiv.org/abs/1910.07467).

The decision: kept are the input and one number per row; everything else is made again, in as few passes over memory as
there are. That holds for whoever reads the normalised rows, too: they come with where they are from, so a fused layer
keeps no second copy of them for its own backward (a sixth of what a layer keeps).

Letters: N rows, D size of a row.
"""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from tunesmith.models.fused.linear import add


def normalised(x: Tensor, weight: Tensor, eps: float) -> tuple[Tensor, Tensor]:
    """x [N, D] / its root mean square * weight [D], and the reciprocal of the root [N, 1]."""
    inverse = torch.linalg.vector_norm(x, dim=-1, keepdim=True)
    inverse = inverse.square_().div_(x.shape[-1]).add_(eps).rsqrt_()
    return scaled(x, inverse, weight), inverse


def scaled(x: Tensor, inverse: Tensor, weight: Tensor) -> Tensor:
    """x [N, D] * inverse [N, 1] * weight [D]."""
    return (x * inverse).mul_(weight)


def gradients(
    x: Tensor, inverse: Tensor, weight: Tensor, grad: Tensor, *, wanted: bool
) -> tuple[Tensor | None, Tensor]:
    """The gradients of x [N, D] (where `wanted`) and of the weight [D]."""
    along = grad * x
    of_weight = (inverse.t() @ along)[0]
    if not wanted:
        return None, of_weight
    pull = (along @ weight)[:, None].mul_(inverse.pow(3)).div_(-x.shape[-1])
    return torch.mul(grad, weight).mul_(inverse).addcmul_(x, pull), of_weight


@dataclass(frozen=True, slots=True)
class Source:
    """What rows [*, D] are made from: the input of a norm and its reciprocal roots; or themselves, without a norm."""

    x: Tensor
    inverse: Tensor | None = None
    norm: "FusedNorm | None" = None

    @classmethod
    def of(cls, rows: Tensor) -> "Source":
        """Where the rows come from, if a fused norm made them."""
        found = getattr(rows, _SOURCE, None)
        return found if isinstance(found, cls) else cls(rows)

    def rows(self) -> Tensor:
        """The rows again, bit for bit."""
        if self.inverse is None or self.norm is None:
            return self.x
        flat = self.x.reshape(-1, self.x.shape[-1])
        return scaled(flat, self.inverse, self.norm.effective).view(self.x.shape)


_SOURCE = "_tunesmith_source"
"""The attribute of normalised rows that tells their source."""


class FusedNorm:
    """The forward of a normalising module; `offset` is 1 where the family multiplies by 1 + weight (Gemma)."""

    def __init__(self, module: Any, plain: Any, offset: float) -> None:
        self.module, self.plain, self.offset = module, plain, offset

    @classmethod
    def candidates(cls, module: nn.Module, plain: Any) -> list["FusedNorm"]:
        """What the module may turn out to be equal to; none where it does not look like such a norm."""
        parameters = dict(module.named_parameters())
        if list(parameters) != ["weight"] or parameters["weight"].ndim != 1 or _eps(module) is None:
            return []
        return [cls(module, plain, offset) for offset in (0.0, 1.0)]

    def __call__(self, hidden_states: Tensor) -> Tensor:
        if hidden_states.dtype != torch.float32 or hidden_states.device.type != "cpu":
            return self.plain(hidden_states)  # type: ignore[no-any-return]
        anchor = self.module.weight if self.module.weight.requires_grad else None
        out: Tensor = _Norm.apply(hidden_states, self, anchor)  # type: ignore[no-untyped-call]
        if out.grad_fn is not None:
            setattr(out, _SOURCE, Source(hidden_states.detach(), out.grad_fn.inverse, self))  # type: ignore[attr-defined]
        return out

    @property
    def effective(self) -> Tensor:
        """The weight that is multiplied by, [D]."""
        weight: Tensor = self.module.weight.detach()
        return weight + self.offset if self.offset else weight

    @property
    def eps(self) -> float:
        """What is added to the mean square."""
        return float(_eps(self.module))

    def learn(self, of_weight: Tensor) -> None:
        """Add to the gradient of the weight, where it trains."""
        weight: nn.Parameter = self.module.weight
        if weight.requires_grad:
            add(weight, of_weight)


def _eps(module: nn.Module) -> Any:
    return getattr(module, "variance_epsilon", None) or getattr(module, "eps", None)


class _Norm(torch.autograd.Function):
    """x [*, D] → [*, D]; the gradient of the weight goes straight into its `.grad`."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, norm: FusedNorm, anchor: Tensor | None) -> Tensor:
        flat = x.reshape(-1, x.shape[-1])
        out, inverse = normalised(flat, norm.effective, norm.eps)
        ctx.save_for_backward(x, inverse)
        ctx.norm, ctx.inverse = norm, inverse
        return out.view(x.shape)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        x, inverse = ctx.saved_tensors
        flat = x.reshape(-1, x.shape[-1])
        of_x, of_weight = gradients(
            flat, inverse, ctx.norm.effective, grad.reshape(flat.shape), wanted=ctx.needs_input_grad[0]
        )
        ctx.norm.learn(of_weight)
        return None if of_x is None else of_x.view(x.shape), None, None
