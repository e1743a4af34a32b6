"""Plain softmax attention over a forest by the CPU's flash kernel, forward and backward.

The decision: a token sees its own segment's beginning and everything above it. In depth-first order all tokens below
a segment stand in one range after it, so a forest of S segments with I inner ones needs S causal products and I full
ones, whatever its shape; no T×T mask exists. The parts meet by their log-sum-exp (FlashAttention-2's identity, Dao,
2023, https://arxiv.org/abs/2307.08691), in the backward too: with the merged output and log-sum-exp, each part's
flash backward gives exactly its share of the gradient.

How the kernel is asked decides how fast it is. Of a causal product it computes whole blocks of 512 keys, so all of the
square up to 512 tokens: a segment comes to it in runs of few queries, without the keys that none of them sees, which
takes up to a third less time.

Letters: H heads, T tokens, E head size.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

_RUN = 128
"""Queries of a run."""
_LONGEST_IN_RUNS = 1024
"""Tokens up to which runs are faster than one causal product."""

_forward_kernel = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu
_backward_kernel = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu_backward

# What a run of queries may not see: nothing until its own first token, and of its own tokens those behind each.
_HIDDEN = torch.cat([torch.zeros(_RUN, _LONGEST_IN_RUNS - _RUN), torch.full((_RUN, _RUN), float("-inf")).triu_(1)], 1)


@dataclass(frozen=True, slots=True)
class Below:
    """One segment `start:end`, the end of all tokens below it, and the ranges above it."""

    start: int
    end: int
    subtree_end: int
    ancestors: tuple[tuple[int, int], ...]


def causal(q: Tensor, k: Tensor, v: Tensor, scaling: float) -> tuple[Tensor, Tensor]:
    """The same as `flash` over one sequence."""
    return flash(q, k, v, scaling, (Below(0, q.shape[2], q.shape[2], ()),))


def flash(q: Tensor, k: Tensor, v: Tensor, scaling: float, segments: Sequence[Below]) -> tuple[Tensor, Tensor]:
    """Attention over the forest, [1, H, T, E] laid out in memory as q is, and its log-sum-exp [1, H, T]."""
    out = torch.empty_like(q)
    lse = q.new_empty(q.shape[:3], dtype=torch.float32)
    for s in segments:
        for own, seen, how in _runs(s, q.dtype):
            part = _forward_kernel(q[:, :, own], k[:, :, seen], v[:, :, seen], 0.0, scale=scaling, **how)
            out[:, :, own], lse[:, :, own] = part[0], part[1]
    # Roots first or last makes no difference to the sum; flat order keeps the rounding a function of the batch.
    for s in segments:
        if s.subtree_end > s.end:
            below, over = slice(s.end, s.subtree_end), slice(s.start, s.end)
            part = _forward_kernel(q[:, :, below], k[:, :, over], v[:, :, over], 0.0, False, scale=scaling)
            _merge(out[:, :, below], lse[:, :, below], part[0], part[1])
    return out, lse


def flash_backward(
    grad: Tensor, of: tuple[Tensor, Tensor, Tensor], out: Tensor, lse: Tensor, scaling: float, segments: Sequence[Below]
) -> tuple[Tensor, Tensor, Tensor]:
    """The gradients `of` q, k and v, given what `flash` was given and gave."""
    q, k, v = of
    dq, dk, dv = torch.empty_like(q), torch.empty_like(k), torch.empty_like(v)
    for s in segments:
        for own, seen, how in _runs(s, q.dtype):
            dq[:, :, own], *parts = _backward_kernel(
                grad[:, :, own], q[:, :, own], k[:, :, seen], v[:, :, seen], out[:, :, own], lse[:, :, own],
                0.0, scale=scaling, **how,
            )  # fmt: skip
            for z, part in zip((dk, dv), parts, strict=True):
                if own.stop == s.end:  # the first of them, which sees all
                    z[:, :, seen] = part
                else:
                    z[:, :, seen] += part
    for s in segments:
        if s.subtree_end > s.end:
            below, over = slice(s.end, s.subtree_end), slice(s.start, s.end)
            parts = _backward_kernel(
                grad[:, :, below], q[:, :, below], k[:, :, over], v[:, :, over], out[:, :, below], lse[:, :, below],
                0.0, False, scale=scaling,
            )  # fmt: skip
            dq[:, :, below] += parts[0]
            dk[:, :, over] += parts[1]
            dv[:, :, over] += parts[2]
    return dq, dk, dv


def _runs(s: Below, dtype: torch.dtype) -> Iterator[tuple[slice, slice, dict[str, object]]]:
    """The segment's queries, the last ones first: which, the keys that they see, and how the kernel is told so."""
    length = s.end - s.start
    step = _RUN if length <= _LONGEST_IN_RUNS and dtype == torch.float32 else length
    for first in reversed(range(0, length, step)):
        last = min(first + step, length)
        own, seen = slice(s.start + first, s.start + last), slice(s.start, s.start + last)
        hidden = _HIDDEN[: last - first, _LONGEST_IN_RUNS - _RUN - first :][:, :last] if first else None
        yield own, seen, {"is_causal": hidden is None, "attn_mask": hidden}


def _merge(out: Tensor, lse: Tensor, more: Tensor, more_lse: Tensor) -> None:
    """Add a second part of the keys to `out` and `lse`, in place."""
    out.lerp_(more, torch.sigmoid(more_lse - lse).unsqueeze(-1).to(out.dtype))
    torch.logaddexp(lse, more_lse, out=lse)
