"""What is minimised: weighted cross entropy of the targets at the supervised rows, and its gradient at once.

The decision: the loss knows its gradient (softmax minus target) as soon as the logits are there, so it is made in
the forward, tile by tile, and no logits are kept: three matrix products with the output matrix instead of four. The
gradient of the output matrix goes straight into its `.grad`; autograd never sees the head.

Letters: U supervised rows, R targets, V vocabulary, D hidden size.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

import torch
from torch import Tensor

from tunesmith.models.fused.linear import add_product
from tunesmith.models.head import Head
from tunesmith.models.products import back, onward
from tunesmith.training.settings import TokenWeighting
from tunesmith.training.targets import Targets
from tunesmith.training.weighting import weighted

TILE_BYTES = 128 << 20
"""Most logits made at once: each tile reads the whole output matrix, and reads and writes its whole gradient."""
TILE_ROWS = 384
"""Most rows at once on a CPU; products get no faster with more."""
GPU_TILE_BYTES = 1 << 30
"""The same on a GPU, which is only busy with many rows."""
COLUMNS = 1024
"""Logits of a row made at once: a product of so few columns stays in the cache, which makes it a fifth faster."""
CACHED_BYTES = 1 << 20
"""Logits passed over at once: so few that they are still in the cache for the next pass."""


@dataclass(frozen=True, slots=True)
class Losses:
    """The unweighted loss of each target [R], whether each was the most probable token [R], and the gradient of
    Σ weight·loss·scale with respect to the hidden rows [U, D] (None when it was not asked for)."""

    loss: Tensor
    right: Tensor
    gradient: Tensor | None


def cross_entropy(
    hidden: Tensor,
    head: Head,
    targets: Targets,
    *,
    smoothing: float = 0.0,
    scale: float | None = None,
    weighting: TokenWeighting = "none",
    compiled: bool = False,
) -> Losses:
    """Cross entropy in nats, with label smoothing (Szegedy et al., 2015, https://arxiv.org/abs/1512.00567).

    With `scale` (1 / weight of the whole step) the gradient is made too, and that of the output matrix and its bias
    is added to their `.grad`. A row may have several targets. `weighting` changes what a target counts in it.
    `compiled` makes the passes over the logits one kernel.
    """
    softmax = compiled_softmax() if compiled else _softmax_in_place
    rows = hidden.shape[0]
    tile = tile_rows(head.weight, rows, TILE_BYTES)
    loss = torch.empty(len(targets.target), dtype=torch.float32, device=hidden.device)
    right = torch.empty(len(targets.target), dtype=torch.bool, device=hidden.device)
    gradient = torch.empty_like(hidden) if scale is not None else None
    room = None if hidden.is_cuda else head.weight.new_empty(tile, len(head.weight))
    with torch.no_grad():
        for start in range(0, rows, tile):
            here = slice(start, min(start + tile, rows))
            # Targets of other tiles take part with weight 0: choosing them out would make the host wait for a GPU.
            inside = (targets.row_of >= here.start) & (targets.row_of < here.stop)
            place = (targets.row_of - here.start).clamp(0, here.stop - here.start - 1)
            part = Targets(place, targets.target, targets.weight * inside)
            z, slope = logits_of(hidden[here], head, keep_slope=scale is not None, room=room)
            if scale is not None:
                part = weighted(z, part, weighting)
            found = softmax(z, part, smoothing, scale)
            loss, right = torch.where(inside, found[0], loss), torch.where(inside, found[1], right)
            if gradient is not None:
                if slope is not None:
                    z *= slope
                accumulate(head, hidden[here], z)
                gradient[here] = back(z.to(head.weight.dtype), head.weight.detach())
    return Losses(loss, right, gradient)


def logit_losses(
    logits: Tensor,
    targets: Targets,
    *,
    smoothing: float = 0.0,
    scale: float | None = None,
    weighting: TokenWeighting = "none",
) -> Losses:
    """The same losses where only the model itself makes its logits [U, V]; with `scale`, also their gradient."""
    log_p = torch.log_softmax(logits.float(), dim=-1)
    of_target = log_p[targets.row_of, targets.target]
    loss = -of_target
    if smoothing:
        loss = (1 - smoothing) * loss - smoothing * log_p.mean(dim=-1)[targets.row_of]
    right = of_target.detach() >= log_p.detach().amax(dim=-1)[targets.row_of]
    if scale is not None:
        (loss * weighted(logits, targets, weighting).weight).sum().mul(scale).backward()  # type: ignore[no-untyped-call]
    return Losses(loss.detach(), right, None)


def tile_rows(weight: Tensor, rows: int, on_cpu: int) -> int:
    """How many of the `rows` meet the output matrix [V, D] at once, in even tiles; on a CPU at most `on_cpu` bytes."""
    most = GPU_TILE_BYTES if weight.is_cuda else min(on_cpu, 4 * weight.shape[0] * TILE_ROWS)
    tiles = -(-rows // max(16, most // (4 * weight.shape[0])))
    return max(1, -(-rows // max(1, tiles)))


def logits_of(
    hidden: Tensor, head: Head, *, keep_slope: bool, room: Tensor | None = None
) -> tuple[Tensor, Tensor | float | None]:
    """Logits [U, V] in fp32, and d logits / d (hidden · weightᵀ + bias) when that is not 1.

    Where there is `room` of the output matrix's type for them, they stand there: memory that is asked for anew for
    every tile comes from the system page by page.
    """
    left, weight = hidden.to(head.weight.dtype), head.weight.detach()
    if left.is_cuda and left.dtype != torch.float32:  # the sums are in fp32 anyway; so they need not be rounded
        z = torch.mm(left, weight.t(), out_dtype=torch.float32)
    elif room is None:
        z = onward(left, weight).float()
    else:
        for start in range(0, len(weight), COLUMNS):
            some = slice(start, start + COLUMNS)
            room[: len(left), some] = onward(left, weight[some])
        z = room[: len(left)].float()
    if head.bias is not None:
        z += head.bias.detach()
    slope: Tensor | float | None = None
    if head.scale != 1.0:
        z *= head.scale
        slope = head.scale
    if head.softcap is not None:
        z.div_(head.softcap).tanh_()
        if keep_slope:
            slope = (1 - z * z).mul_(slope or 1.0)
        z *= head.softcap
    return z, slope


def _softmax_in_place(z: Tensor, targets: Targets, smoothing: float, scale: float | None) -> tuple[Tensor, Tensor]:
    """Loss of each target, and whether it is the most probable token of its row.

    With `scale`, the logits `z` [U, V] become Σ over a row's targets of weight·scale·(softmax − smoothed target).
    """
    best, log_sum, mean = (z.new_empty(len(z)) for _ in range(3))
    at_target = z[targets.row_of, targets.target]
    weight = targets.weight * (scale or 0.0)
    of_row = torch.zeros_like(best).index_add_(0, targets.row_of, weight)
    some = max(1, CACHED_BYTES // (4 * z.shape[1])) if z.device.type == "cpu" else len(z)
    for start in range(0, len(z), some):
        rows = slice(start, start + some)
        part = z[rows]
        torch.amax(part, dim=-1, out=best[rows])
        if smoothing:
            torch.mean(part, dim=-1, out=mean[rows])
        total = part.sub_(best[rows, None]).exp_().sum(dim=-1)
        if scale is not None:
            part *= (of_row[rows] / total)[:, None]
        torch.log(total, out=log_sum[rows])
    if scale is not None:
        z.index_put_((targets.row_of, targets.target), -(1 - smoothing) * weight, accumulate=True)
        if smoothing:
            z -= (of_row * smoothing / z.shape[1])[:, None]
    whole = best + log_sum
    expected = (1 - smoothing) * at_target + smoothing * mean[targets.row_of] if smoothing else at_target
    return whole[targets.row_of] - expected, at_target >= best[targets.row_of]


@cache
def compiled_softmax() -> Callable[..., tuple[Tensor, Tensor]]:
    """The function above as torch compiles it, for any number of rows."""
    return torch.compile(_softmax_in_place, dynamic=True)


def accumulate(head: Head, hidden: Tensor, d: Tensor) -> None:
    """Add this tile's gradient of the output matrix and bias to their `.grad`."""
    d = d.to(head.weight.dtype)
    if head.weight.requires_grad:
        add_product(head.weight, d.t(), hidden.to(d.dtype))
    if head.bias is not None and head.bias.requires_grad:
        summed = d.sum(0)
        head.bias.grad = summed if head.bias.grad is None else head.bias.grad + summed
