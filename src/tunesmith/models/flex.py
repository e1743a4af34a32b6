"""Attention over a forest on a GPU: FlexAttention, and variable-length flash where nothing is shared.

The decision: the rule of a Batch, `k <= q < subtree_end[k]`, is the mask. Which blocks of it are empty, mixed or full
follows from the flat order by a few comparisons of NumPy, so the block mask costs the host O(T) and the device nothing;
it is made once a batch for each window, and all layers read it. Lengths are padded to whole blocks with tokens that see
only themselves. Sinks come in afterwards by the log-sum-exp.
FlexAttention: Dong et al., 2024, https://arxiv.org/abs/2412.05496.

Letters: H heads, G key/value heads, T tokens, D head size.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache
from inspect import signature
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.attention.flex_attention import AuxRequest, BlockMask, flex_attention
from torch.nn.attention.varlen import varlen_attn

from tunesmith.batches.batch import Batch
from tunesmith.models.transfer import on_device

BLOCK = 128
"""Tokens along a side of a block of the mask; FlexAttention's own."""
MOST_FORMS, MOST_FORMS_IN_ALL = 64, 512
"""Forms of one function that torch keeps compiled: for one length or all, with a gradient or not, windows, caps."""
KERNEL = {"IS_DIVISIBLE": True}
"""Lengths are whole blocks, which a kernel for all lengths cannot see: it would look for their end and spill registers.

Not `ROWS_GUARANTEED_SAFE`: a token sees itself, but not something in every block that is computed for it.
"""
Bools = NDArray[np.bool_]
# torch 2.11 shares key and value heads unasked; later ones want to be asked.
_SHARED_HEADS: dict[str, Any] = {"enable_gqa": True} if "enable_gqa" in signature(varlen_attn).parameters else {}


@dataclass(frozen=True, slots=True)
class Padded:
    """The arrays of a Batch that its tokens are computed from, padded by roots of one token."""

    ids: NDArray[np.int64]
    position: NDArray[np.int64]
    subtree_end: NDArray[np.int64]

    @classmethod
    def of(cls, batch: Batch) -> "Padded":
        """The batch, as long as whole blocks."""
        tokens = len(batch.ids)
        length = padded_length(tokens)
        more = np.zeros(length - tokens, np.int64)
        end = np.concatenate([batch.subtree_end, np.arange(tokens, length) + 1])
        return cls(np.concatenate([batch.ids, more]), np.concatenate([batch.position, more]), end)


def padded_length(tokens: int) -> int:
    """The next length of whole blocks.

    >>> [padded_length(n) for n in (5, 128, 129)]
    [128, 128, 256]
    """
    return -(-tokens // BLOCK) * BLOCK


@dataclass(frozen=True, slots=True, eq=False)
class Runs:
    """Sequences one after the other: where each starts and the last ends, and the tokens of the longest."""

    starts: Tensor  # [N + 1] int32
    longest: int

    @classmethod
    def of(cls, batch: Batch, length: int, device: torch.device | str) -> "Runs":
        """The sequences of a batch in which nothing is shared; its padding is one more of them."""
        ends = {len(batch.ids), length}  # the kernel leaves rows of no sequence as they were, and they might be NaN
        starts = np.array([*(s.start for s in batch.segments), *sorted(ends)], np.int32)
        return cls(on_device(starts, device), int(np.diff(starts).max()))


@dataclass(frozen=True, slots=True, eq=False)
class ForestMask:
    """Who sees whom in a padded batch: on the host for the blocks, on the device for the tokens in them."""

    padded: Padded
    end: Tensor  # [T] int32
    position: Tensor  # [T] int32
    runs: "Runs | None"  # where nothing is shared
    made: dict[int | None, BlockMask] = field(default_factory=dict)

    @classmethod
    def of(cls, batch: Batch, device: torch.device | str) -> "ForestMask":
        """The mask of a batch, padded."""
        padded = Padded.of(batch)
        end, position = (a.astype(np.int32) for a in (padded.subtree_end, padded.position))
        alone = not any(segment.ancestors for segment in batch.segments)
        runs = Runs.of(batch, len(end), device) if alone else None
        return cls(padded, on_device(end, device), on_device(position, device), runs)

    def blocks(self, window: int | None) -> BlockMask:
        """The block mask; with `window`, a token sees only so many positions back, itself included."""
        if window not in self.made:
            some, full = block_kinds(self.padded.subtree_end, self.padded.position, window)
            counts, places = _ordered(np.stack([some & ~full, full]))
            there = on_device(np.concatenate([counts[..., None], places], axis=-1), self.end.device)[:, None, None]
            # The kernels read the counts of blocks one after the other, wherever the strides would lead.
            counted, placed = there[..., 0].contiguous(), there[..., 1:].contiguous()
            length = len(self.padded.ids)
            self.made[window] = BlockMask.from_kv_blocks(
                counted[0], placed[0], counted[1], placed[1],
                BLOCK_SIZE=BLOCK, mask_mod=_rule(self.end, self.position, window), seq_lengths=(length, length),
            )  # fmt: skip
        return self.made[window]


def _rule(end: Tensor, position: Tensor, window: int | None) -> Callable[..., Tensor]:
    def sees(_b: Tensor, _h: Tensor, q: Tensor, k: Tensor) -> Tensor:
        return (k <= q) & (q < end[k])

    if window is None:
        return sees
    near = window

    def sees_near(_b: Tensor, _h: Tensor, q: Tensor, k: Tensor) -> Tensor:
        return (k <= q) & (q < end[k]) & (position[q] - position[k] < near)

    return sees_near


def block_kinds(end: NDArray[np.int64], position: NDArray[np.int64], window: int | None) -> tuple[Bools, Bools]:
    """Which blocks [queries, keys] of a mask may hold a pair that sees, and which hold nothing else.

    A block that holds none may be called mixed where a window is near; never is a pair lost, nor one let in.
    """
    last = end.reshape(-1, BLOCK)
    first_query = np.arange(len(last)) * BLOCK
    below = first_query[:, None] > first_query[None]
    some = below & (last.max(1)[None] > first_query[:, None])
    full = below & (last.min(1)[None] >= first_query[:, None] + BLOCK)
    np.fill_diagonal(some, True)
    if window is not None:
        depth = position.reshape(-1, BLOCK)
        some &= depth.min(1)[:, None] - depth.max(1)[None] < window
        full &= depth.max(1)[:, None] - depth.min(1)[None] < window
    return some, full


def _ordered(blocks: Bools) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    """For each row, how many blocks are set, and the columns with those first, in order."""
    return blocks.sum(-1, dtype=np.int32), np.argsort(~blocks, axis=-1, kind="stable").astype(np.int32)


def by_runs(q: Tensor, k: Tensor, v: Tensor, runs: Runs, scaling: float) -> Tensor:
    """Causal attention within each sequence, in half precision: q [1, H, T, D], k and v [1, G, T, D] → [1, T, H, D]."""
    q, k, v = (z[0].transpose(0, 1) for z in (q, k, v))
    starts, most = runs.starts, runs.longest
    out: Any = varlen_attn(q, k, v, starts, starts, most, most, scale=scaling, window_size=(-1, 0), **_SHARED_HEADS)
    return out[None]  # type: ignore[no-any-return]


@dataclass(frozen=True, slots=True, eq=False)
class Scores:
    """What becomes of a query's scores before and in the softmax."""

    scaling: float
    window: int | None
    softcap: float | None
    sinks: Tensor | None  # [H]


def by_flex(q: Tensor, k: Tensor, v: Tensor, mask: ForestMask, scores: Scores) -> Tensor:
    """Attention over the forest: q [1, H, T, D], k and v [1, G, T, D] → [1, H, T, Dv]."""
    attend: Any = compiled_attention if q.device.type == "cuda" else flex_attention
    given: dict[str, Any] = {"block_mask": mask.blocks(scores.window), "scale": scores.scaling}
    given |= {"enable_gqa": q.shape[1] > k.shape[1], "kernel_options": KERNEL}
    if scores.softcap is not None:
        given["score_mod"] = _capped(scores.softcap)
    if scores.sinks is None:
        return attend(q, k, v, **given)  # type: ignore[no-any-return]
    out, found = attend(q, k, v, **given, return_aux=AuxRequest(lse=True))
    # Of the softmax with the sink in it, exp(lse) / (exp(lse) + exp(sink)) is left for the keys.
    left = torch.sigmoid(found.lse - scores.sinks.float().reshape(1, -1, 1))
    return (out * left.unsqueeze(-1)).to(q.dtype)  # type: ignore[no-any-return]


def _capped(softcap: float) -> Callable[..., Tensor]:
    def capped(score: Tensor, _b: Tensor, _h: Tensor, q: Tensor, k: Tensor) -> Tensor:
        return torch.tanh(score / softcap) * softcap

    return capped


def keep_forms() -> None:
    """Let torch keep every form that occurs.

    It keeps 8 by default, and what comes after them runs uncompiled: attention would then write down the scores of all
    pairs. Its settings belong to a thread, and a backward runs in one of its own, so this is said wherever it matters.
    """
    told, limits = torch._dynamo.config, {"": MOST_FORMS, "accumulated_": MOST_FORMS_IN_ALL}
    if told.recompile_limit < MOST_FORMS:
        for kind, limit in limits.items():
            setattr(told, f"{kind}recompile_limit", limit)


def compiled_attention(q: Tensor, k: Tensor, v: Tensor, **given: Any) -> Any:
    """FlexAttention as one kernel, compiled for the first length that occurs and, at the second, for all."""
    keep_forms()
    for z in (q, k, v):
        torch._dynamo.mark_static(z, [1, 3])  # what differs between models is no length
    return _compiled()(q, k, v, **given)


@cache
def _compiled() -> Callable[..., Any]:
    return torch.compile(flex_attention)
