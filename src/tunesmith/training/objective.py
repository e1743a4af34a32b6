"""What is minimised: weighted cross entropy of the targets at the supervised rows, and its gradient at once.

The decision: the loss knows its gradient (softmax minus target) as soon as the logits are there, so it is made in
the forward, tile by tile, and no logits are kept: three matrix products with the output matrix instead of four. The
gradient of the output matrix goes straight into its `.grad`; autograd never sees the head.

Letters: U supervised rows, R targets, V vocabulary, D hidden size.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from tunesmith.models.head import Head

TILE_BYTES = 64 << 20
"""Logits made at once."""


@dataclass(frozen=True, slots=True)
class Targets:
    """What the rows have to predict: row_of, target, weight, each [R]; all on the device of the rows."""

    row_of: Tensor
    target: Tensor
    weight: Tensor


@dataclass(frozen=True, slots=True)
class Losses:
    """The unweighted loss of each target [R], whether each was the most probable token [R], and the gradient of
    Σ weight·loss·scale with respect to the hidden rows [U, D] (None when it was not asked for)."""

    loss: Tensor
    right: Tensor
    gradient: Tensor | None


def cross_entropy(
    hidden: Tensor, head: Head, targets: Targets, *, smoothing: float = 0.0, scale: float | None = None
) -> Losses:
    """Cross entropy in nats, with label smoothing (Szegedy et al., 2015, https://arxiv.org/abs/1512.00567).

    With `scale` (1 / weight of the whole step) the gradient is made too, and that of the output matrix and its bias
    is added to their `.grad`. A row may have several targets.
    """
    rows, vocabulary = hidden.shape[0], head.weight.shape[0]
    tile = max(16, TILE_BYTES // (4 * vocabulary))
    loss = torch.empty(len(targets.target), dtype=torch.float32, device=hidden.device)
    right = torch.empty(len(targets.target), dtype=torch.bool, device=hidden.device)
    gradient = torch.empty_like(hidden) if scale is not None else None
    with torch.no_grad():
        for start in range(0, rows, tile):
            here = slice(start, min(start + tile, rows))
            inside = ((targets.row_of >= here.start) & (targets.row_of < here.stop)).nonzero()[:, 0]
            part = Targets(targets.row_of[inside] - here.start, targets.target[inside], targets.weight[inside])
            log_p, slope = _log_probabilities(hidden[here], head, keep_slope=scale is not None)
            loss[inside], right[inside] = _losses(log_p, part, smoothing)
            if gradient is not None and scale is not None:
                d = _logit_gradient(log_p, part, smoothing, scale)
                if slope is not None:
                    d *= slope
                _accumulate(head, hidden[here], d)
                torch.mm(d.to(head.weight.dtype), head.weight.detach(), out=gradient[here])
    return Losses(loss, right, gradient)


def logit_losses(logits: Tensor, targets: Targets, *, smoothing: float = 0.0, scale: float | None = None) -> Losses:
    """The same losses where only the model itself makes its logits [U, V]; with `scale`, also their gradient."""
    log_p = torch.log_softmax(logits.float(), dim=-1)
    loss, right = _losses(log_p, targets, smoothing)
    if scale is not None:
        (loss * targets.weight).sum().mul(scale).backward()  # type: ignore[no-untyped-call]
    return Losses(loss.detach(), right, None)


def _log_probabilities(hidden: Tensor, head: Head, *, keep_slope: bool) -> tuple[Tensor, Tensor | float | None]:
    """Log-probabilities [U, V] in fp32, and d logits / d (hidden · weightᵀ + bias) when that is not 1."""
    z = torch.mm(hidden.to(head.weight.dtype), head.weight.detach().t()).float()
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
    return torch.log_softmax(z, dim=-1), slope


def _losses(log_p: Tensor, targets: Targets, smoothing: float) -> tuple[Tensor, Tensor]:
    """Loss of each target, and whether the target is the most probable token of its row."""
    of_target = log_p[targets.row_of, targets.target]
    best = log_p.amax(dim=-1)[targets.row_of]
    if smoothing:
        mean = log_p.mean(dim=-1)[targets.row_of]
        return -((1 - smoothing) * of_target + smoothing * mean), of_target >= best
    return -of_target, of_target >= best


def _logit_gradient(log_p: Tensor, targets: Targets, smoothing: float, scale: float) -> Tensor:
    """Σ over a row's targets of weight·scale·(softmax − smoothed target); overwrites `log_p`."""
    weight = targets.weight * scale
    of_row = torch.zeros(len(log_p), device=log_p.device).index_add_(0, targets.row_of, weight)
    d = log_p.exp_().mul_(of_row[:, None])
    d.index_put_((targets.row_of, targets.target), -(1 - smoothing) * weight, accumulate=True)
    if smoothing:
        d -= (of_row * smoothing / d.shape[1])[:, None]
    return d


def _accumulate(head: Head, hidden: Tensor, d: Tensor) -> None:
    """Add this tile's gradient of the output matrix and bias to their `.grad`."""
    d = d.to(head.weight.dtype)
    if head.weight.requires_grad:
        if head.weight.grad is None:
            head.weight.grad = torch.zeros_like(head.weight)
        head.weight.grad.addmm_(d.t(), hidden.to(d.dtype))
    if head.bias is not None and head.bias.requires_grad:
        summed = d.sum(0)
        head.bias.grad = summed if head.bias.grad is None else head.bias.grad + summed
