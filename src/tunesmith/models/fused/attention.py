"""Rotary attention over a forest, from the hidden states to what is added to them, with a backward of its own.

The decision: kept are where the input comes from, the rotated queries, keys and values (each key and value head once,
however many query heads share it), and attention's output; nothing is copied to change its layout. Rotation: Su
et al., 2021, https://arxiv.org/abs/2104.09864, in the form that turns halves.

Letters: T tokens, D hidden size, H heads, G key/value heads, E head size.
"""

from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from tunesmith.models.attention import Layout, back, onward
from tunesmith.models.fused import norm
from tunesmith.models.fused.linear import gradients, product, supported, trains
from tunesmith.models.fused.norm import FusedNorm, Source
from tunesmith.models.native import attention as native

_LAYERS = ("q_proj", "k_proj", "v_proj", "o_proj")


class FusedAttention:
    """The forward of a module with q_proj, k_proj, v_proj, o_proj, and q_norm and k_norm where it has them."""

    def __init__(self, module: Any, plain: Any) -> None:
        self.module, self.plain = module, plain

    @classmethod
    def candidates(cls, module: nn.Module, plain: Any) -> list["FusedAttention"]:
        """The one thing that the module may turn out to be equal to; nothing where it does not look like attention."""
        known = {name for name, _ in module.named_children()} <= {*_LAYERS, "q_norm", "k_norm"}
        fits = known and all(supported(getattr(module, name, None)) for name in _LAYERS)
        return [cls(module, plain)] if fits and isinstance(getattr(module, "head_dim", None), int) else []

    def __call__(self, hidden_states: Tensor, *args: Any, **given: Any) -> Any:
        turn = given.get("position_embeddings")
        if args or turn is None or not self._suits(hidden_states, turn, given):
            return self.plain(hidden_states, *args, **given)
        anchor = hidden_states.new_empty(0).requires_grad_() if trains(self.module) else None
        out = _Attention.apply(hidden_states, self, turn, given["forest"], anchor)  # type: ignore[no-untyped-call]
        return out, None

    @property
    def norms(self) -> tuple[FusedNorm | None, FusedNorm | None]:
        """The norms of queries and keys, proven before; None where there are none."""
        found = [getattr(self.module, name, None) for name in ("q_norm", "k_norm")]
        q, k = [None if module is None else module.__dict__.get("forward") for module in found]
        return q, k

    def window(self, layout: Layout) -> int:
        """The module's window over a batch, 0 where it hides nothing of it."""
        return layout.window(
            getattr(self.module, "sliding_window", getattr(self.module.config, "sliding_window", None))
        )

    def _suits(self, x: Tensor, turn: Any, given: dict[str, Any]) -> bool:
        module, layout = self.module, given.get("forest")
        chunk = getattr(module.config, "attention_chunk_size", None)
        unproven = any(
            hasattr(module, name) and proven is None
            for name, proven in zip(("q_norm", "k_norm"), self.norms, strict=True)
        )
        return (
            isinstance(layout, Layout)
            and x.dtype == torch.float32
            and x.device.type == "cpu"
            and x.shape[0] == 1
            and turn[0].shape == (1, x.shape[1], module.head_dim)
            and given.get("past_key_values") is None
            and getattr(module, "attn_logit_softcapping", None) is None
            and (chunk is None or layout.longest <= chunk)
            and (not self.window(layout) or native.suits(x))
            and not unproven
            and all(supported(getattr(module, name)) for name in _LAYERS)
        )


class _Attention(torch.autograd.Function):
    """x [1, T, D] → [1, T, D]; the gradients of the matrices go straight into their `.grad`."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, fused: FusedAttention, turn: Any, layout: Layout, anchor: Tensor | None) -> Tensor:
        module, size = fused.module, fused.module.head_dim
        made = [product(getattr(module, name), x[0]) for name in _LAYERS[:3]]
        q, k, v = (out.view(len(out), -1, size) for out, _ in made)
        kept: list[Tensor | None] = []
        turned = []
        for heads, normed in zip((q, k), fused.norms, strict=True):
            if normed is None:
                kept += [None, None]
                turned.append(rotated(heads, *turn))
                continue
            flat = heads.reshape(-1, size)
            out, inverse = norm.normalised(flat, normed.effective, normed.eps)
            kept += [flat, inverse]
            turned.append(rotated(out.view(heads.shape), *turn))
        q, k = turned
        how = layout, module.scaling, fused.window(layout)
        out, lse = onward((q, k, v), *how)
        mixed, of_mixed = product(module.o_proj, out.reshape(len(out), -1))
        source = Source.of(x)
        low = (*(low for _, low in made), of_mixed)
        ctx.save_for_backward(source.x, source.inverse, q, k, v, out, lse, *turn, *kept, *low)
        ctx.fused, ctx.how, ctx.norm = fused, how, source.norm
        return mixed[None]

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        x, inverse, q, k, v, out, lse, cos, sin, *kept = ctx.saved_tensors
        x = Source(x, inverse, ctx.norm).rows()
        fused, module = ctx.fused, ctx.fused.module
        kept, low = kept[:4], kept[4:]
        of_out = gradients(module.o_proj, out.reshape(len(out), -1), low[3], grad[0], None, wanted=True)
        assert of_out is not None, "it was wanted"
        dq, dk, dv = back(of_out.view(q.shape), (q, k, v), (out, lse), *ctx.how)
        dq = rotated(dq, cos, -sin)
        dk = rotated(dk, cos, -sin)
        of_heads = [
            _through_norm(g, normed, *pair)
            for g, normed, pair in zip((dq, dk), fused.norms, (kept[:2], kept[2:]), strict=True)
        ]
        wanted, of_x = ctx.needs_input_grad[0], None
        for name, of_low, g in zip(_LAYERS, low, (*of_heads, dv), strict=False):
            of_x = gradients(getattr(module, name), x[0], of_low, g.reshape(len(x[0]), -1), of_x, wanted=wanted)
        return None if of_x is None else of_x[None], None, None, None, None


def rotated(heads: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Heads [T, H, E] turned by the angles whose cos and sin [1, T, E] are given; -sin turns back."""
    half = heads.shape[-1] // 2
    cos, sin = cos[0].unsqueeze(1), sin[0].unsqueeze(1)
    out = heads * cos
    out[..., :half].addcmul_(heads[..., half:], sin[..., :half], value=-1)
    out[..., half:].addcmul_(heads[..., :half], sin[..., half:])
    return out


def _through_norm(grad: Tensor, fused: FusedNorm | None, flat: Tensor | None, inverse: Tensor | None) -> Tensor:
    if fused is None or flat is None or inverse is None:
        return grad
    of_heads, of_weight = norm.gradients(flat, inverse, fused.effective, grad.reshape(flat.shape), wanted=True)
    fused.learn(of_weight)
    assert of_heads is not None, "it was wanted"
    return of_heads.view(grad.shape)
