"""Between base and tuned: the weights of a network as a mixture of what they were and what they became.

The decision: a mixture is base + share · (tuned − base), weight by weight; of an adapter only its second matrix, which
is zero at the base, so that the mixture is that of the whole matrices. Layers are taken in thirds, as they stand in the
network; what is read before them goes with the first third, what follows them with the last.

Wortsman et al., 2021, "Robust fine-tuning of zero-shot models", https://arxiv.org/abs/2109.01903.
"""

import re
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

SHARES = (0.2, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)
"""Shares of the tuned model that are tried beside 1."""
THIRDS = 3
_LAYER = re.compile(r"\.(\d+)\.")


class Between:
    """The trained weights of a network, held at both ends. `base` gives those of the base; missing ones are zero."""

    def __init__(self, trainable: Sequence[tuple[str, nn.Parameter]], base: Mapping[str, Tensor]) -> None:
        moving = [(name, p) for name, p in trainable if not name.endswith("lora_A")]
        layers = max((_layer(name) or 0 for name, _ in moving), default=0) + 1
        self._ends = []
        for name, p in moving:
            start = base[name].detach().to(p.device, p.dtype) if name in base else torch.zeros_like(p)
            self._ends.append((p, start, p.detach().clone(), _part(name, layers)))

    @torch.no_grad()
    def set(self, shares: Sequence[float]) -> None:
        """The weights are so much of the tuned ones in each third; at 1 they are the tuned ones to the bit."""
        for parameter, base, tuned, part in self._ends:
            share = shares[part]
            parameter.copy_(tuned if share == 1 else torch.lerp(base, tuned, share))


def _layer(name: str) -> int | None:
    found = _LAYER.search(name)
    return int(found.group(1)) if found else None


def _part(name: str, layers: int) -> int:
    """The third to which a parameter belongs."""
    layer = _layer(name)
    if layer is None:
        return 0 if "embed" in name or "wte" in name or "wpe" in name else THIRDS - 1
    return min(THIRDS * layer // layers, THIRDS - 1)
