"""KL(base ‖ tuned) at the supervised rows, and its gradient: what keeps the model's answers near those of its base.

The decision: the base is the same network with its adapter off, or a second one where there is no adapter. It reads the
same Batch, so shared beginnings cost it once too; and as the gradient of a row is softmax(tuned) − softmax(base), it is
made in the forward, as that of the loss is (`training.objective`).

The formula is the distillation term of Li & Hoiem, "Learning without Forgetting", 2016, https://arxiv.org/abs/1606.09282,
at temperature 1.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor

from tunesmith.batches.batch import Batch
from tunesmith.models.adapters import disabled
from tunesmith.models.forward import Network
from tunesmith.models.head import Head
from tunesmith.models.products import back
from tunesmith.training.objective import accumulate, logits_of, tile_rows
from tunesmith.training.targets import Targets

TILE_BYTES = 16 << 20
"""Logits of each of the two models made at once."""


@dataclass(frozen=True, slots=True)
class Toward:
    """What a step is drawn towards: a nat of KL from `base` costs `weight`. Without `base` it is the adapter off."""

    weight: float
    base: Network | None = None

    def rows(self, network: Network, batch: Batch) -> Tensor:
        """What the base finds at the supervised rows: hidden states where `network` has a head, else logits."""
        with torch.no_grad(), self._at_base(network) as base:
            return base.hidden_rows(batch) if network.head is not None else base.logits(batch)

    def head(self, network: Network) -> Head | None:
        """The output matrix of the base."""
        return network.head if self.base is None else self.base.head

    @contextmanager
    def _at_base(self, network: Network) -> Iterator[Network]:
        if self.base is not None:
            yield self.base
            return
        with disabled(network.model):
            yield network


def of_rows(targets: Targets, rows: int) -> Tensor:
    """What each row counts [U]: the weights of its targets together."""
    return torch.zeros(rows, device=targets.weight.device).index_add_(0, targets.row_of, targets.weight)


def divergence(
    hidden: Tensor, head: Head, base: Tensor, base_head: Head, weight: Tensor, *, scale: float
) -> tuple[Tensor, Tensor]:
    """Σ weight·KL(base ‖ tuned) over the rows, and the gradient of that times `scale` for the hidden rows [U, D].

    The gradient of the output matrix and its bias is added to their `.grad`. `weight` is [U].
    """
    gradient = torch.empty_like(hidden)
    tile = tile_rows(head.weight, len(hidden), TILE_BYTES)
    total = torch.zeros((), dtype=torch.float64, device=hidden.device)
    with torch.no_grad():
        for start in range(0, len(hidden), tile):
            here = slice(start, start + tile)
            z, slope = logits_of(hidden[here], head, keep_slope=True)
            z0, _ = logits_of(base[here], base_head, keep_slope=False)
            nats, d = from_logits(z, z0)
            total += (nats * weight[here]).sum()
            d *= (weight[here] * scale)[:, None]
            if slope is not None:
                d *= slope
            accumulate(head, hidden[here], d)
            gradient[here] = back(d.to(head.weight.dtype), head.weight.detach())
    return total, gradient


def from_logits(tuned: Tensor, base: Tensor) -> tuple[Tensor, Tensor]:
    """KL(base ‖ tuned) of each row [U], and its gradient with respect to the tuned logits [U, V]."""
    log_q, log_p = torch.log_softmax(tuned.float(), dim=-1), torch.log_softmax(base.float(), dim=-1)
    p = log_p.exp()
    return (p * (log_p - log_q)).sum(dim=-1), log_q.exp() - p
