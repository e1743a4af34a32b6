"""Attention by the CPU's kernel, beside plain operations in float64."""

from itertools import pairwise

import pytest
import torch
from torch import Tensor

from tunesmith.models.flash import Below, flash, flash_backward

Three = tuple[Tensor, Tensor, Tensor]


def drawn(tokens: int) -> Three:
    """q, k and v [1, H, T, E], laid out token by token."""
    made = torch.randn(3, tokens, 3, 8, generator=torch.Generator().manual_seed(tokens))
    q, k, v = made.transpose(1, 2)[:, None]
    return q, k, v


def plain(of: Three, seen: Tensor, pull: Tensor) -> tuple[Tensor, ...]:
    """Output, log-sum-exp and the three gradients, where query q sees key k iff seen[q, k]."""
    q, k, v = (z.double().requires_grad_() for z in of)
    scores = (q @ k.transpose(-1, -2) * 0.3).masked_fill(~seen, float("-inf"))
    out = scores.softmax(-1) @ v
    return out.detach(), scores.logsumexp(-1).detach(), *torch.autograd.grad(out, (q, k, v), pull.double())


def ours(of: Three, segments: tuple[Below, ...], pull: Tensor) -> tuple[Tensor, ...]:
    """The same by the kernel."""
    out, lse = flash(*of, 0.3, segments)
    return out, lse, *flash_backward(pull, of, out, lse, 0.3, segments)


def agree(found: tuple[Tensor, ...], expected: tuple[Tensor, ...]) -> None:
    """Equal within the rounding of float32."""
    for a, b in zip(found, expected, strict=True):
        assert (a - b).abs().max() <= 2e-6 * b.abs().max().clamp_min(1)


@pytest.mark.parametrize("tokens", [1, 63, 64, 65, 128, 300, 1024, 1025])
def test_a_sequence_of_any_length_is_causal(tokens: int) -> None:
    of, pull = drawn(tokens), drawn(tokens + 1)[0][:, :, :tokens]
    seen = torch.ones(tokens, tokens, dtype=torch.bool).tril()
    agree(ours(of, (Below(0, tokens, tokens, ()),), pull), plain(of, seen, pull))


def branched() -> tuple[tuple[Below, ...], Tensor]:
    """A trunk of 150 tokens with four branches, and who sees whom in it."""
    ends, tokens = [0, 150, 230, 240, 420, 425], 425
    trunk = Below(0, 150, tokens, ())
    branches = (Below(a, b, b, ((0, 150),)) for a, b in pairwise(ends[1:]))
    branch = torch.bucketize(torch.arange(tokens), torch.tensor(ends[1:]), right=True)
    return (trunk, *branches), ((branch[:, None] == branch) | (branch == 0)).tril()


def test_branches_see_their_trunk_and_themselves() -> None:
    segments, seen = branched()
    of, pull = drawn(425), drawn(426)[0][:, :, :425]
    agree(ours(of, segments, pull), plain(of, seen, pull))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float64])
def test_other_numbers_go_the_same_way(dtype: torch.dtype) -> None:
    segments, seen = branched()
    of = drawn(425)
    q, k, v = (z.to(dtype) for z in of)
    out, lse = flash(q, k, v, 0.3, segments)
    expected = plain(of, seen, torch.zeros_like(of[0]))
    assert out.dtype == dtype
    assert (out.float() - expected[0]).abs().max() < 0.02
    assert (lse.float() - expected[1]).abs().max() < 0.02
