"""Attention for generation: keys and values are kept in a store of ours, and transformers models call this function.

The decision: generation uses the same door as training (an attention function and one extra keyword), with no cache
object. One forward takes a flat row of tokens: one for each sequence that goes on, the whole prompt of each that
begins, and the beginning that several share (a *trunk*), computed and stored once. Attention over a trunk is one
product for all rows above it, attention over a sequence's own tokens is batched over sequences, and the two meet by
their log-sum-exp (FlashAttention-2's identity, Dao, 2023, https://arxiv.org/abs/2307.08691).

Letters: G key/value heads with R query heads each, T tokens of the call, B slots, C capacity of a slot, L keys, D size.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import torch
from torch import Tensor, nn
from transformers import AttentionInterface

from tunesmith.models.flash import causal

NAME = "tunesmith-decode"
"""What models are told to use (`attn_implementation`)."""

_QUERY_BLOCK = 256  # queries at once in a long prompt; bounds the scores at heads * block * length
_kernel = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu
_NOTHING = -1e30  # log-sum-exp of a part of which a row sees nothing; finite, so that differences stay defined

Pair = tuple[Tensor, Tensor]


class Mask:
    """Which keys a row sees: `seen`, True where it does, and what the kernel needs of it, made once for all layers."""

    def __init__(self, seen: Tensor) -> None:
        self.seen = seen

    @cached_property
    def added(self) -> Tensor:
        """What is added to the scores, float32."""
        return torch.zeros(self.seen.shape).masked_fill_(~self.seen, float("-inf"))

    @cached_property
    def blind(self) -> Tensor | None:
        """True at a row that sees nothing; None where every row sees something."""
        found = ~self.seen.any(-1)
        return found if bool(found.any()) else None


@dataclass(slots=True, eq=False)
class Trunk:
    """A beginning that several sequences share; `layers` holds its keys and values [G, L, D] once it is read."""

    ids: Sequence[int]
    layers: dict[int, Pair] = field(default_factory=dict)

    def beginning(self, length: int) -> "Trunk":
        """Its first `length` ids as a trunk of their own, read as far as this one is."""
        read = {layer: (k[:, :length].clone(), v[:, :length].clone()) for layer, (k, v) in self.layers.items()}
        return Trunk(self.ids[:length], read)


@dataclass(slots=True)
class Store:
    """Keys and values of the sequences in progress: for each layer a pair [B, G, C, D]."""

    slots: int = 0
    capacity: int = 0
    layers: dict[int, Pair] = field(default_factory=dict)

    def of(self, layer: int, k: Tensor, v: Tensor) -> Pair:
        """The pair of a layer, made to fit the first keys and values [G, T, D] that come."""
        if layer not in self.layers:
            self.layers[layer] = (self._zeros(k), self._zeros(v))
        return self.layers[layer]

    def reshape(self, slots: int, capacity: int, used: Sequence[int]) -> None:
        """Take a new shape, keeping the first `used[i]` tokens of each slot i."""
        self.slots, self.capacity = slots, capacity
        for layer, old in self.layers.items():
            new = (self._zeros(old[0][0]), self._zeros(old[1][0]))
            for slot, length in enumerate(used):
                for fresh, kept in zip(new, old, strict=True):
                    fresh[slot, :, :length] = kept[slot, :, :length]
            self.layers[layer] = new

    def move(self, source: int, to: int, length: int) -> None:
        """Copy the first tokens of one slot into another."""
        for pair in self.layers.values():
            for kept in pair:
                kept[to, :, :length] = kept[source, :, :length]

    def fill(self, slot: int, trunk: Trunk) -> None:
        """A slot begins with what was read of a trunk."""
        for layer, read in trunk.layers.items():
            for kept, new in zip(self.of(layer, *read), read, strict=True):
                kept[slot, :, : new.shape[1]] = new

    def read_in(self, slot: int, length: int) -> dict[int, Pair]:
        """A copy of the first `length` keys and values of a slot, for each layer."""
        return {n: (k[slot, :, :length].clone(), v[slot, :, :length].clone()) for n, (k, v) in self.layers.items()}

    def _zeros(self, like: Tensor) -> Tensor:
        # Zeros, because what nobody sees still takes part in the product with weight 0, and 0 * nan is nan.
        return like.new_zeros(self.slots, like.shape[0], self.capacity, like.shape[2])


@dataclass(frozen=True, slots=True)
class Run:
    """Rows `start:end` of the call, which go on in `slot` after `stored` own tokens, or are the `trunk` itself."""

    start: int
    end: int
    stored: int
    slot: int
    trunk: Trunk | None


@dataclass(slots=True)
class Call:
    """What one forward has to know. Rows `0:singles` go on by one token each, in slots `0:singles`."""

    store: Store
    position: Tensor  # [T]
    singles: int
    slots: Tensor  # [singles] 0, 1, 2…
    stored: Tensor  # [singles] own tokens before this call
    longest: int  # most own tokens of a single, with this call's
    ragged: bool  # whether the singles differ in length
    runs: Sequence[Run]
    above: Sequence[tuple[Trunk, Tensor]]  # each trunk, and the rows that stand above it
    masks: dict[tuple[object, ...], Mask | None] = field(default_factory=dict)  # the same in most layers

    @property
    def plain(self) -> bool:
        """Whether nothing is read but one token for each slot, and nothing stands above a trunk."""
        return not self.runs and not self.above

    def keep(self, layer: int, k: Tensor, v: Tensor) -> Pair:
        """Store this call's keys and values [G, T, D]; the layer's pair."""
        pair = self.store.of(layer, k, v)
        for kept, new in zip(pair, (k, v), strict=True):
            if self.ragged:
                kept[self.slots, :, self.stored] = new[:, : self.singles].transpose(0, 1)
            elif self.singles:
                kept[: self.singles, :, self.longest - 1] = new[:, : self.singles].transpose(0, 1)
            for run in self.runs:
                if run.trunk is None:
                    kept[run.slot, :, run.stored : run.stored + run.end - run.start] = new[:, run.start : run.end]
        for run in self.runs:
            if run.trunk is not None:
                run.trunk.layers[layer] = (k[:, run.start : run.end].clone(), v[:, run.start : run.end].clone())
        return pair

    def mask_of_singles(self, window: int | None) -> Mask | None:
        """[singles, 1, 1, longest], True where a single sees an own token; None where it sees all."""
        key = ("singles", window)
        if key not in self.masks:
            keys = torch.arange(self.longest, device=self.position.device)
            seen = keys <= self.stored[:, None]
            if window is not None:
                seen &= keys > self.stored[:, None] - window
            plain = not self.ragged and (window is None or self.longest <= window)
            self.masks[key] = None if plain else Mask(seen[:, None, None])
        return self.masks[key]

    def mask_of_trunk(self, place: int, window: int | None, heads: int) -> Mask | None:
        """[heads * rows, L], True where a row sees a trunk token; None where it sees all."""
        trunk, rows = self.above[place]
        if window is None:
            return None
        key = ("trunk", place, window)
        if key not in self.masks:
            keys = torch.arange(len(trunk.ids), device=self.position.device)
            self.masks[key] = Mask((keys > self.position[rows, None] - window).repeat(heads, 1))
        return self.masks[key]


def attend(q: Tensor, k: Tensor, v: Tensor, mask: Mask | None, scaling: float, softcap: float | None) -> Pair:
    """Attention over one part of the keys, and the log-sum-exp of its scores.

    q [B, G, M, D], k and v [B, G, L, D], mask broadcastable to [B, G, M, L] → [B, G, M, Dv] and float32 [B, G, M].
    """
    if _suits_kernel(q, v, softcap):
        return _by_kernel(q, k, v, mask, scaling)
    scores = torch.matmul(q, k.transpose(-1, -2)).float().mul_(scaling)
    if softcap is not None:
        scores = scores.div_(softcap).tanh_().mul_(softcap)
    if mask is not None:
        scores.masked_fill_(~mask.seen, float("-inf"))
    lse = scores.logsumexp(-1, keepdim=True).clamp_min_(_NOTHING)
    weights = scores.sub_(lse).exp_().to(v.dtype)
    return torch.matmul(weights, v), lse.squeeze(-1)


def _suits_kernel(q: Tensor, v: Tensor, softcap: float | None) -> bool:
    return softcap is None and q.device.type == "cpu" and q.shape[-1] == v.shape[-1]


def _by_kernel(q: Tensor, k: Tensor, v: Tensor, mask: Mask | None, scaling: float) -> Pair:
    """The same by the CPU's flash kernel, which never writes the scores down."""
    if mask is None:
        return tuple(_kernel(q, k, v, 0.0, False, scale=scaling))
    added = mask.added.to(q.dtype).expand(q.shape[0], 1, q.shape[2], k.shape[2])
    out, lse = _kernel(q, k, v, 0.0, False, attn_mask=added, scale=scaling)
    # The kernel reports 0 for a row that sees nothing, which would give an empty part a weight.
    return out, lse if mask.blind is None else lse.masked_fill_(mask.blind, _NOTHING)


@dataclass(frozen=True, slots=True)
class _Layer:
    """One layer's attention: the queries [G, R, T, D] and what it is told."""

    call: Call
    q: Tensor
    scaling: float
    softcap: float | None
    window: int | None

    def singles(self, k: Tensor, v: Tensor) -> Pair:
        """Every row that goes on by one token, over its own slot: [singles, G, R, Dv] and [singles, G, R]."""
        n, keys = self.call.singles, self.call.longest
        q = self.q[:, :, :n].permute(2, 0, 1, 3)
        mask = self.call.mask_of_singles(self.window)
        return attend(q, k[:n, :, :keys], v[:n, :, :keys], mask, self.scaling, self.softcap)


@dataclass(frozen=True, slots=True)
class _Parts(_Layer):
    """The same, put together from parts: out [G, R, T, Dv] and lse [G, R, T]."""

    out: Tensor
    lse: Tensor

    @classmethod
    def of(cls, layer: _Layer, value_size: int) -> "_Parts":
        q = layer.q
        out, lse = q.new_empty(*q.shape[:3], value_size), q.new_empty(q.shape[:3], dtype=torch.float32)
        return cls(layer.call, q, layer.scaling, layer.softcap, layer.window, out, lse)

    def begin(self, k: Tensor, v: Tensor) -> None:
        """The rows that go on by one token."""
        n = self.call.singles
        out, lse = self.singles(k, v)
        self.out[:, :, :n], self.lse[:, :, :n] = out.permute(1, 2, 0, 3), lse.permute(1, 2, 0)

    def run(self, run: Run, k: Tensor, v: Tensor) -> None:
        """The rows of a run over their own tokens [G, C, D], causally, a block of queries at a time."""
        length = run.end - run.start
        whole = run.stored == 0 and (self.window is None or length <= self.window)
        if whole and _suits_kernel(self.q, v, self.softcap):
            rows = slice(run.start, run.end)
            for head in range(self.q.shape[1]):
                q = self.q[None, :, head, rows]
                out, lse = causal(q, k[None, :, :length], v[None, :, :length], self.scaling)
                self.out[:, head, rows], self.lse[:, head, rows] = out[0], lse[0]
            return
        for start in range(run.start, run.end, _QUERY_BLOCK):
            end = min(start + _QUERY_BLOCK, run.end)
            first, last = run.stored + start - run.start, run.stored + end - run.start
            keys = torch.arange(last, device=k.device)
            queries = torch.arange(first, last, device=k.device)[:, None]
            seen = keys <= queries
            if self.window is not None:
                seen &= keys > queries - self.window
            rows = slice(start, end)
            mask = Mask(seen.repeat(self.q.shape[1], 1))
            self.out[:, :, rows], self.lse[:, :, rows] = self._part(self.q[:, :, rows], k[:, :last], v[:, :last], mask)

    def above(self, place: int, layer: int) -> None:
        """Add to every row above a trunk what it sees of it."""
        trunk, rows = self.call.above[place]
        mask = self.call.mask_of_trunk(place, self.window, self.q.shape[1])
        if len(rows) == self.q.shape[2]:  # in ascending order, so they need no picking
            out, lse = _merged(self.out, self.lse, *self._part(self.q, *trunk.layers[layer], mask))
            self.out.copy_(out)
            self.lse.copy_(lse)
            return
        q, out, lse = (whole.index_select(2, rows) for whole in (self.q, self.out, self.lse))
        out, lse = _merged(out, lse, *self._part(q, *trunk.layers[layer], mask))
        self.out.index_copy_(2, rows, out)
        self.lse.index_copy_(2, rows, lse)

    def _part(self, q: Tensor, k: Tensor, v: Tensor, mask: Mask | None) -> Pair:
        """Queries [G, R, M, D] over keys and values [G, L, D]; mask [R * M, L] or None."""
        flat = q.reshape(1, q.shape[0], -1, q.shape[3])
        out, lse = attend(flat, k[None], v[None], mask, self.scaling, self.softcap)
        return out.view(*q.shape[:3], -1), lse.view(q.shape[:3])


def _merged(out: Tensor, lse: Tensor, more: Tensor, more_lse: Tensor) -> Pair:
    """Two parts of the keys as one; of the second it is enough to know how much more it weighs."""
    # out + (more - out) * w2 / (w1 + w2): fewer passes than a share for each.
    share = torch.sigmoid(more_lse - lse).unsqueeze(-1).to(out.dtype)
    return torch.lerp(out, more, share), torch.logaddexp(lse, more_lse)


def decode_attention(
    module: nn.Module, query: Tensor, key: Tensor, value: Tensor, attention_mask: Tensor | None, **given: Any
) -> tuple[Tensor, None]:
    """What a transformers model calls: query [1, H, T, D], key and value [1, G, T, D] → [1, T, H, Dv].

    `given["call"]` is the Call that the reader handed to the model; a model that loses it fails the trial.
    """
    call: Call = given["call"]
    number: int = module.layer_idx  # type: ignore[assignment]
    k, v = call.keep(number, key[0], value[0])
    heads, tokens, size = query.shape[1:]
    q = query[0].reshape(key.shape[1], -1, tokens, size)
    scaling = given.get("scaling")
    scaling = size**-0.5 if scaling is None else float(scaling)
    layer, sinks = _Layer(call, q, scaling, given.get("softcap"), given.get("sliding_window")), given.get("s_aux")
    if call.plain and sinks is None:
        return layer.singles(k, v)[0].reshape(1, tokens, heads, -1), None
    parts = _Parts.of(layer, value.shape[3])
    if call.singles:
        parts.begin(k, v)
    for run in call.runs:
        parts.run(run, *((k[run.slot], v[run.slot]) if run.trunk is None else run.trunk.layers[number]))
    for place in range(len(call.above)):
        parts.above(place, number)
    out = parts.out
    if sinks is not None:  # a sink takes part in the softmax and carries no value (gpt-oss)
        out = out * torch.sigmoid(parts.lse - sinks.float().view(*q.shape[:2], 1)).unsqueeze(-1).to(out.dtype)
    return out.reshape(heads, tokens, -1).transpose(0, 1)[None], None


AttentionInterface.register(NAME, decode_attention)
