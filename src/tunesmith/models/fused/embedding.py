"""The embedding of token ids, with a gradient that touches only the rows that were read.

The decision: the gradient is added to the matrix's `.grad` row by row. Autograd would make a matrix as large as the
vocabulary for every micro-batch, nearly all of it zeros.

Letters: T tokens, V vocabulary, D hidden size.
"""

from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable


class FusedEmbedding:
    """The forward of an embedding, times a constant where the family has one (Gemma)."""

    def __init__(self, module: nn.Embedding, plain: Any) -> None:
        self.module, self.plain = module, plain

    @classmethod
    def candidates(cls, module: nn.Module, plain: Any) -> list["FusedEmbedding"]:
        """The one thing that the module may turn out to be equal to; nothing where it does not look like it."""
        plain_one = isinstance(module, nn.Embedding) and module.max_norm is None and not module.scale_grad_by_freq
        return [cls(module, plain)] if plain_one and not module.sparse else []  # type: ignore[arg-type]

    def __call__(self, ids: Tensor) -> Tensor:
        weight = self.module.weight
        if weight.device.type != "cpu" or weight.dtype != torch.float32:
            return self.plain(ids)  # type: ignore[no-any-return]
        return _Embedding.apply(weight, ids, self)  # type: ignore[no-untyped-call, no-any-return]

    @property
    def scale(self) -> float:
        """What the rows are multiplied by."""
        return float(getattr(self.module, "embed_scale", 1.0))


class _Embedding(torch.autograd.Function):
    """ids [*] → [*, D]."""

    @staticmethod
    def forward(ctx: Any, weight: nn.Parameter, ids: Tensor, fused: FusedEmbedding) -> Tensor:
        ctx.save_for_backward(ids)
        ctx.fused = fused
        out = nn.functional.embedding(ids, weight)
        return out.mul_(fused.scale) if fused.scale != 1.0 else out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[None, ...]:
        (ids,) = ctx.saved_tensors
        module, scale = ctx.fused.module, ctx.fused.scale
        flat, rows = ids.reshape(-1), grad.reshape(-1, grad.shape[-1])
        if module.padding_idx is not None:  # the one row that torch's own embedding never teaches
            kept = (flat != module.padding_idx).nonzero()[:, 0]
            flat, rows = flat[kept], rows[kept]
        if module.weight.grad is None:
            module.weight.grad = torch.zeros_like(module.weight)
        module.weight.grad.index_add_(0, flat, rows, alpha=scale)
        return None, None, None
