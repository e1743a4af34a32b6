"""Products of few rows, which is all that a model computes while it writes: one row for each answer in progress.

The decision: how such a product is asked for decides how fast it is, not what it is. MKL computes `W · xᵀ` up to twice
as fast as `x · Wᵀ` when x has few rows (AMD Zen 3, matrices of SmolLM2-135M); on several threads it divides the outputs
among them instead of the rows, so each thread reads its own part of W and not all of it. With one row, MKL uses one
thread in any case, and waking the others for the little that is left costs more than it saves; beside a training that
wants the same cores, ten times more.

Letters: T rows, I inputs, O outputs.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial

import torch
from torch import Tensor, nn

_MOST = 32
"""Rows from which on `x · Wᵀ` is as fast."""
_MOST_ON_ONE_THREAD = 5
_SHORT = 1024
"""Positions from which on attention of one row is worth more than one thread."""


def linear(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """x [*, I] · weight [O, I]ᵀ + bias, as [*, O]; without a gradient where it is computed the other way round."""
    if not _turned(x, weight):
        return nn.functional.linear(x, weight, bias)
    rows = x.reshape(-1, x.shape[-1])
    out = torch.mm(weight, rows.t()).t().contiguous().view(*x.shape[:-1], -1)
    return out if bias is None else out.add_(bias)


def _turned(x: Tensor, weight: Tensor) -> bool:
    rows = x.numel() // x.shape[-1]
    if not 1 < rows <= _MOST or torch.is_grad_enabled() or weight.device.type != "cpu":
        return False
    return weight.dtype == x.dtype == torch.float32 and (rows <= _MOST_ON_ONE_THREAD or torch.get_num_threads() > 1)


@contextmanager
def few_rows(model: nn.Module) -> Iterator[None]:
    """Inside the block the model's plain linear layers compute few rows in this way; afterwards as they did."""
    plain = [m for m in model.modules() if type(m) is nn.Linear and "forward" not in m.__dict__]
    for module in plain:
        module.__dict__["forward"] = partial(_forward, module)
    try:
        yield
    finally:
        for module in plain:
            del module.__dict__["forward"]


def _forward(module: nn.Linear, input: Tensor) -> Tensor:
    return linear(input, module.weight, module.bias)


@contextmanager
def threads_for(tokens: int, position: int) -> Iterator[None]:
    """One thread inside the block where a single token at a low position is read; afterwards as many as before."""
    threads = torch.get_num_threads()
    alone = tokens == 1 and position < _SHORT and threads > 1
    if alone:
        torch.set_num_threads(1)
    try:
        yield
    finally:
        if alone:
            torch.set_num_threads(threads)
