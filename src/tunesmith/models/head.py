"""The output matrix: which hidden rows meet it, and what a family does to the logits.

The decision: the base model runs without its head, and only supervised rows meet the output matrix. What families do
around that product (a bias, a scale, a soft cap) is read from the configuration into four values here; whether they
are all there is, the probe decides by comparing with the model's own logits.
"""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from tunesmith.models.few_rows import linear


@dataclass(frozen=True, slots=True)
class Head:
    """logits = cap(scale * (hidden · weightᵀ + bias)); weight [V, D], bias [V] or None."""

    weight: nn.Parameter
    bias: nn.Parameter | None
    scale: float
    softcap: float | None

    @classmethod
    def of(cls, model: Any) -> "Head | None":
        """The head of a transformers model, or None when its output is not one plain matrix."""
        output = model.get_output_embeddings()
        if not isinstance(output, nn.Linear):
            return None
        config = model.config.get_text_config()
        scale = 1.0
        if getattr(config, "logit_scale", None) is not None:  # Cohere
            scale *= float(config.logit_scale)
        if getattr(config, "logits_scaling", None) is not None:  # Granite
            scale /= float(config.logits_scaling)
        cap = getattr(config, "final_logit_softcapping", None)
        return cls(output.weight, output.bias, scale, float(cap) if cap else None)  # type: ignore[arg-type]

    def logits(self, hidden: Tensor) -> Tensor:
        """Logits [U, V] of hidden rows [U, D], differentiable."""
        z = linear(hidden.to(self.weight.dtype), self.weight, self.bias)
        if self.scale != 1.0:
            z = z * self.scale
        if self.softcap is not None:
            z = torch.tanh(z / self.softcap) * self.softcap
        return z
