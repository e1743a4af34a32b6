"""Attention over a forest, as a function that transformers models call through their attention interface.

The decision: on a CPU code of our own does it (`models.native`), or torch's flash kernel (`models.flash`) for other
numbers than float32 and where nothing can be compiled. What they cannot do (soft-capping, sinks, dropout, unequal head
sizes; windows only by the first) goes through plain differentiable operations, segment by segment. A GPU takes other
ways (`models.flex`); which one is right for a model, the probe tries.

Letters: H heads, G key/value heads, T tokens, D head size.
"""

from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from transformers import AttentionInterface

from tunesmith.batches.batch import Batch
from tunesmith.models.flash import Below, flash, flash_backward
from tunesmith.models.flex import ForestMask, Scores, by_flex, by_runs
from tunesmith.models.native import attention as native
from tunesmith.models.native.attention import Forest, Three, Two

Way = Literal["segments", "flex", "runs"]
"""How attention goes through a forest: by segments; by FlexAttention; or by variable-length flash where nothing is
shared, else by FlexAttention."""

NAME = "tunesmith"
"""What models are told to use (`attn_implementation`)."""


@dataclass(frozen=True, slots=True)
class Layout:
    """What attention needs to know of a Batch."""

    segments: tuple[Below, ...]
    forest: Forest
    mask: ForestMask | None = None
    runs: bool = False

    @property
    def longest(self) -> int:
        """Tokens of the longest path from a root down."""
        return int(self.forest[1].max()) + 1

    def window(self, limit: int | None) -> int:
        """Of a window of so many tokens: its width, or 0 where all of these see all that stands above them."""
        return 0 if limit is None or self.longest <= limit else int(limit)

    @classmethod
    def of(cls, batch: Batch, device: torch.device | str = "cpu", way: Way = "segments") -> "Layout":
        """The layout of a batch, with its tensors on `device`."""
        segments = tuple(Below(s.start, s.end, int(batch.subtree_end[s.start]), s.ancestors) for s in batch.segments)
        forest = torch.from_numpy(batch.subtree_end), torch.from_numpy(batch.position)
        mask = None if way == "segments" else ForestMask.of(batch, device)
        return cls(segments, forest, mask, runs=way == "runs")


def onward(of: Three, layout: Layout, scaling: float, window: int = 0) -> Two:
    """Plain softmax attention of q [T, H, D] over k, v [T, G, D] → [T, H, D], and what the backward wants to know."""
    if native.suits(of[0]):
        return native.forward(of, layout.forest, scaling, window)
    assert not window, "the kernel knows none"
    out, lse = flash(*_by_head(of), scaling, layout.segments)
    return out[0].transpose(0, 1), lse


def back(grad: Tensor, of: Three, made: Two, layout: Layout, scaling: float, window: int = 0) -> Three:
    """The gradients `of` q, k and v, given what `onward` was given and gave."""
    if native.suits(of[0]):
        return native.backward(grad, of, made, layout.forest, scaling, window)
    out, lse = made
    grad, out = (z.transpose(0, 1)[None] for z in (grad, out))
    found = flash_backward(grad, _by_head(of), out, lse, scaling, layout.segments)
    dq, dk, dv = (z[0].transpose(0, 1) for z in found)
    if dk.shape != of[1].shape:
        dk, dv = (z.reshape(*of[1].shape[:2], -1, z.shape[2]).sum(2) for z in (dk, dv))
    return dq, dk, dv


def _by_head(of: Three) -> Three:
    """[T, H, D] as [1, H, T, D] without a copy; a key or value head is repeated for each query head that it serves."""
    q, k, v = of
    groups = q.shape[1] // k.shape[1]
    if groups > 1:
        k, v = (z.repeat_interleave(groups, 1) for z in (k, v))
    return q.transpose(0, 1)[None], k.transpose(0, 1)[None], v.transpose(0, 1)[None]


class _Attention(torch.autograd.Function):
    """`onward` and `back` for whoever records gradients."""

    @staticmethod
    def forward(ctx: Any, q: Tensor, k: Tensor, v: Tensor, layout: Layout, scaling: float, window: int) -> Tensor:
        made = onward((q, k, v), layout, scaling, window)
        ctx.save_for_backward(q, k, v, *made)
        ctx.how = layout, scaling, window
        return made[0]

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        q, k, v, out, lse = ctx.saved_tensors
        return *back(grad, (q, k, v), (out, lse), *ctx.how), None, None, None


def attend(
    q: Tensor, k: Tensor, v: Tensor, allowed: Tensor, *, scaling: float, softcap: float | None, sinks: Tensor | None
) -> Tensor:
    """Attention by plain operations: q [H, Q, D], k and v [G, K, D], allowed [Q, K] → [H, Q, Dv].

    Sinks (gpt-oss) take part in the softmax and carry no value; the soft cap (Gemma 2) stands before the mask.
    """
    groups = q.shape[0] // k.shape[0]
    if groups > 1:
        k, v = k.repeat_interleave(groups, 0), v.repeat_interleave(groups, 0)
    scores = torch.matmul(q, k.transpose(1, 2)) * scaling
    if softcap is not None:
        scores = torch.tanh(scores / softcap) * softcap
    scores = scores.masked_fill(~allowed, float("-inf"))
    if sinks is not None:
        scores = torch.cat([scores, sinks.reshape(-1, 1, 1).expand(-1, scores.shape[1], 1)], dim=-1)
    weights = torch.softmax(scores, dim=-1, dtype=torch.float32).to(q.dtype)
    return torch.matmul(weights[..., : k.shape[1]], v)


def _by_segment(q: Tensor, k: Tensor, v: Tensor, layout: Layout, window: int | None, **how: Any) -> Tensor:
    """Attention of every segment over its ancestors and itself; q [H, T, D] → [H, T, Dv]."""
    outs = []
    for s in layout.segments:
        seen = [*s.ancestors, (s.start, s.end)]
        keys = torch.cat([k[:, a:b] for a, b in seen], dim=1) if s.ancestors else k[:, s.start : s.end]
        values = torch.cat([v[:, a:b] for a, b in seen], dim=1) if s.ancestors else v[:, s.start : s.end]
        # Along a path the positions are 0, 1, 2…, so the last key of the path stands at the depth of the last query.
        at_key = torch.arange(keys.shape[1], device=q.device)
        at_query = at_key[keys.shape[1] - (s.end - s.start) :]
        allowed = at_key[None] <= at_query[:, None]
        if window is not None:
            allowed &= at_key[None] > at_query[:, None] - window
        outs.append(attend(q[:, s.start : s.end], keys, values, allowed, **how))
    return torch.cat(outs, dim=1)


@torch.compiler.disable  # type: ignore[untyped-decorator]  # what it calls is compiled for itself
def forest_attention(
    module: nn.Module, query: Tensor, key: Tensor, value: Tensor, attention_mask: Tensor | None, **given: Any
) -> tuple[Tensor, None]:
    """What a transformers model calls: query [1, H, T, D], key and value [1, G, T, D] → [1, T, H, D].

    `given["forest"]` is the Layout that the caller of the model handed in; a model that loses it fails the probe.
    """
    layout: Layout = given["forest"]
    scaling = given.get("scaling")
    scaling = query.shape[-1] ** -0.5 if scaling is None else float(scaling)
    window, softcap, sinks = layout.window(given.get("sliding_window")), given.get("softcap"), given.get("s_aux")
    simple = softcap is None and sinks is None and query.shape[-1] == value.shape[-1]
    if layout.mask is not None:
        runs = layout.mask.runs if layout.runs else None
        if simple and not window and runs is not None and query.dtype in (torch.bfloat16, torch.float16):
            return by_runs(query, key, value, runs, scaling), None
        out = by_flex(query, key, value, layout.mask, Scores(scaling, window or None, softcap, sinks))
    elif simple and query.device.type == "cpu" and (not window or native.suits(query)):
        of = (z[0].transpose(0, 1) for z in (query, key, value))
        return _Attention.apply(*of, layout, scaling, window)[None], None  # type: ignore[no-untyped-call]
    else:
        how = {"scaling": scaling, "softcap": softcap, "sinks": sinks}
        out = _by_segment(query[0], key[0], value[0], layout, window or None, **how)[None]
    return out.transpose(1, 2), None


AttentionInterface.register(NAME, forest_attention)
