"""A gated layer, down(act(gate(x)) * up(x)), with a backward of its own.

The decision: kept are where the input comes from, the two products, and the few numbers a token of adapters; the
activation is made again. Shazeer, 2020, https://arxiv.org/abs/2002.05202.

Letters: T tokens, D hidden size, I inner size.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from tunesmith.models.fused.linear import gradients, product, supported, trains
from tunesmith.models.fused.norm import Source

Activation = tuple[Callable[[Tensor], Tensor], Callable[[Tensor, Tensor], Tensor]]
_ACTIVATIONS: tuple[Activation, ...] = (
    (nn.functional.silu, torch.ops.aten.silu_backward),
    (
        lambda z: nn.functional.gelu(z, approximate="tanh"),
        lambda grad, z: torch.ops.aten.gelu_backward(grad, z, approximate="tanh"),
    ),
)
_LAYERS = ("gate_proj", "up_proj", "down_proj")


class FusedMlp:
    """The forward of a module with gate_proj, up_proj and down_proj; which activation it is, the trial finds out."""

    def __init__(self, module: Any, plain: Any, activation: Activation) -> None:
        self.module, self.plain, self.activation = module, plain, activation

    @classmethod
    def candidates(cls, module: nn.Module, plain: Any) -> list["FusedMlp"]:
        """What the module may turn out to be equal to; none where it does not look like a gated layer."""
        if not all(supported(getattr(module, name, None)) for name in _LAYERS):
            return []
        return [cls(module, plain, activation) for activation in _ACTIVATIONS]

    def __call__(self, x: Tensor) -> Tensor:
        fits = x.dtype == torch.float32 and x.device.type == "cpu"
        if not fits or not all(supported(getattr(self.module, name)) for name in _LAYERS):
            return self.plain(x)  # type: ignore[no-any-return]
        anchor = x.new_empty(0).requires_grad_() if trains(self.module) else None
        return _Mlp.apply(x, self, anchor)  # type: ignore[no-untyped-call, no-any-return]


class _Mlp(torch.autograd.Function):
    """x [*, D] → [*, D]; the gradients of the matrices go straight into their `.grad`."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, mlp: FusedMlp, anchor: Tensor | None) -> Tensor:
        flat = x.reshape(-1, x.shape[-1])
        gate, gate_low = product(mlp.module.gate_proj, flat)
        up, up_low = product(mlp.module.up_proj, flat)
        out, down_low = product(mlp.module.down_proj, mlp.activation[0](gate).mul_(up))
        source = Source.of(x)
        ctx.save_for_backward(source.x, source.inverse, gate, up, gate_low, up_low, down_low)
        ctx.mlp, ctx.norm = mlp, source.norm
        return out.view(*x.shape[:-1], -1)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        x, inverse, gate, up, *low = ctx.saved_tensors
        x = Source(x, inverse, ctx.norm).rows()
        (act, act_backward), module = ctx.mlp.activation, ctx.mlp.module
        flat, grad = x.reshape(-1, x.shape[-1]), grad.reshape(-1, grad.shape[-1])
        active = act(gate)
        of_inner = gradients(module.down_proj, active * up, low[2], grad, None, wanted=True)
        assert of_inner is not None, "it was wanted"
        of_gate = act_backward(of_inner * up, gate)
        of_up = of_inner.mul_(active)
        wanted = ctx.needs_input_grad[0]
        of_x = gradients(module.gate_proj, flat, low[0], of_gate, None, wanted=wanted)
        of_x = gradients(module.up_proj, flat, low[1], of_up, of_x, wanted=wanted)
        return None if of_x is None else of_x.view(x.shape), None, None
