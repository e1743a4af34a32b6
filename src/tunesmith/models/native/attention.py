"""Attention over a forest by `forest.c`, forward and backward, in float32 on a CPU.

The decision: torch's flash kernel for CPUs asks a BLAS for each block of each head, which is slow for blocks as small
as those of attention: it reaches a third to a half of what the processor multiplies. The forest's one rule, `k <= q <
subtree_end[k]`, is a mask that code of our own can look at itself, so one call does a whole batch, with no copies of
shared heads and no parts to be merged: 1.5 to 2.1 times as fast (`benchmarks/attention.py`). What a compiler made is
not believed: a small forest is tried first, beside plain operations.

Letters: T tokens, H query heads, G key/value heads, E head size.
"""

import ctypes
from functools import cache
from typing import Any

import torch
from torch import Tensor
from torch.profiler import record_function

from tunesmith.models.native.build import compiled, compiler

Two = tuple[Tensor, Tensor]
Three = tuple[Tensor, Tensor, Tensor]
Forest = tuple[Tensor, Tensor]
"""subtree_end and position of the tokens, [T] each, int64."""
_INT, _FLOAT, _AT = ctypes.c_int, ctypes.c_float, ctypes.c_void_p
_ENOUGH = 2e-5
"""Largest difference that rounding explains, relative to the largest number."""


def suits(q: Tensor) -> bool:
    """Whether heads like these are computed here."""
    return q.device.type == "cpu" and q.dtype == torch.float32 and _right()


def made_by() -> str:
    """Whose attention it is, for whoever asks whether numbers are made the same way: a compiler's, or torch's."""
    return compiler() if _right() else "torch"


def forward(of: Three, forest: Forest, scaling: float, window: int = 0) -> Two:
    """The output [T, H, E] of q [T, H, E], k and v [T, G, E], and what the backward wants to know [T, H].

    A `window` of 0 is none.
    """
    q, k, v = (z.contiguous() for z in of)
    shape, threads = _shape(of), torch.get_num_threads()
    out, lse = torch.empty_like(q), q.new_empty(q.shape[:2])
    scratch = q.new_empty(_library().forest_scratch(*shape, threads, 0))
    pointers = map(Tensor.data_ptr, (*forest, q, k, v, out, lse))
    with record_function("tunesmith::attention"):
        _library().forest_forward(*shape, scaling, window, *pointers, threads, scratch.data_ptr())
    return out, lse


def backward(grad: Tensor, of: Three, made: Two, forest: Forest, scaling: float, window: int = 0) -> Three:
    """The gradients `of` q, k and v, given what the forward was given and gave."""
    q, k, v, grad = (z.contiguous() for z in (*of, grad))
    shape, threads = _shape(of), torch.get_num_threads()
    # Twice as many pieces of work as threads, unless the heads alone can be dealt out evenly.
    parts = 1 if shape[2] % threads == 0 else -(-2 * threads // shape[2])
    dq, dk, dv = (torch.empty_like(z) for z in (q, k, v))
    scratch = q.new_empty(_library().forest_scratch(*shape, threads, parts))
    pointers = map(Tensor.data_ptr, (*forest, q, k, v, *made, grad, dq, dk, dv))
    with record_function("tunesmith::attention_backward"):
        _library().forest_backward(*shape, scaling, window, *pointers, threads, parts, scratch.data_ptr())
    return dq, dk, dv


def _shape(of: Three) -> tuple[int, int, int, int]:
    (tokens, heads, size), groups = of[0].shape, of[1].shape[1]
    return tokens, heads, groups, size


@cache
def _library() -> Any:
    library = compiled("forest.c")
    if library is not None:
        library.forest_scratch.argtypes, library.forest_scratch.restype = [_INT] * 6, ctypes.c_long
        for function, pointers, counts in ((library.forest_forward, 7, 1), (library.forest_backward, 11, 2)):
            function.argtypes = [*[_INT] * 4, _FLOAT, _INT, *[_AT] * pointers, *[_INT] * counts, _AT]
            function.restype = None
    return library


@cache
@torch.inference_mode(mode=False)
def _right() -> bool:
    """Whether there is code and it computes a small forest as plain operations do."""
    if _library() is None:
        return False
    end = torch.tensor([40] * 20 + [27] * 7 + [40] * 13)
    position = torch.tensor([*range(27), *range(20, 33)])
    q, k, v, grad = torch.randn(4, 40, 4, 24, generator=torch.Generator().manual_seed(0))
    of = (q, k[:, :2], v[:, :2])
    out, lse = forward(of, (end, position), 0.2, window=18)
    found = (out, *backward(grad, of, (out, lse), (end, position), 0.2, window=18))
    return all(
        float((a - b).abs().max()) <= _ENOUGH * float(b.abs().max())
        for a, b in zip(found, _plain(grad, of, (end, position), 0.2, window=18), strict=True)
    )


@torch.enable_grad()
def _plain(grad: Tensor, of: Three, forest: Forest, scaling: float, window: int) -> tuple[Tensor, ...]:
    """The output and the gradients by plain operations on the whole square."""
    end, position = forest
    token = torch.arange(len(end))
    seen = (token <= token[:, None]) & (token[:, None] < end) & (position[:, None] - position < window)
    q, k, v = (z.detach().requires_grad_() for z in of)
    keys, values = (z.repeat_interleave(q.shape[1] // z.shape[1], 1) for z in (k, v))
    scores = torch.einsum("qhe,khe->hqk", q, keys) * scaling
    out = torch.einsum("hqk,khe->qhe", scores.masked_fill(~seen, float("-inf")).softmax(-1), values)
    return out.detach(), *torch.autograd.grad(out, (q, k, v), grad)
