"""Products of few rows, which is all that a model computes while it writes: one row for each answer in progress.

The decision: how such a product is asked for decides how fast it is, not what it is. MKL computes `W · xᵀ` up to twice
as fast as `x · Wᵀ` when x has few rows (AMD Zen 3, matrices of SmolLM2-135M); on several threads it divides the outputs
among them instead of the rows, so each thread reads its own part of W and not all of it. With one row it uses one
thread in any case, so W is handed over in parts, always the same ones: how many threads take them changes no bit. Where
others want the cores, one takes them all, because waiting for a thread that does not get its turn costs ten times more.

Letters: T rows, I inputs, O outputs.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch
from torch import Tensor, nn

_MOST = 32
"""Rows from which on `x · Wᵀ` is as fast."""
_MOST_ON_ONE_THREAD = 5
_PARTS = (8, 4, 2)
"""Into how many parts the outputs are divided for one row: the first that divides them evenly."""


def linear(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """x [*, I] · weight [O, I]ᵀ + bias, as [*, O]; without a gradient where it is computed the other way round."""
    if not _turned(x, weight):
        return nn.functional.linear(x, weight, bias)
    rows = x.reshape(-1, x.shape[-1])
    parts = next((n for n in _PARTS if len(weight) % n == 0), 1) if len(rows) == 1 else 1
    if parts > 1:
        out = torch.bmm(weight.view(parts, -1, weight.shape[1]), rows.t().expand(parts, -1, 1)).view(*x.shape[:-1], -1)
    else:
        out = torch.mm(weight, rows.t()).t().contiguous().view(*x.shape[:-1], -1)
    return out if bias is None else out.add_(bias)


def _turned(x: Tensor, weight: Tensor) -> bool:
    rows = x.numel() // x.shape[-1]
    if not 1 <= rows <= _MOST or torch.is_grad_enabled() or weight.device.type != "cpu":
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


@dataclass(slots=True)
class Cores:
    """The threads for one token at a time: all of them, or one while others want the cores."""

    crowded: bool = False

    @contextmanager
    def lent(self, tokens: int) -> Iterator[None]:
        """As many threads as suit so many tokens inside the block; afterwards as many as before."""
        threads = torch.get_num_threads()
        alone = tokens == 1 and self.crowded
        if alone:
            torch.set_num_threads(1)
        try:
            yield
        finally:
            if alone:
                torch.set_num_threads(threads)
            if tokens == 1:  # looked at here: when a block begins, whoever got the last token is still busy with it
                self.crowded = threads > 1 and _crowded(threads)


def _crowded(threads: int) -> bool:
    """Whether others leave fewer than so many cores (proc(5)); taken to be so where the system does not tell."""
    try:
        running = int(Path("/proc/loadavg").read_text().split()[3].partition("/")[0])
        own = sum(_runs(task) for task in Path("/proc/self/task").iterdir())
    except (OSError, ValueError, IndexError):
        return True
    return running - own + threads > (os.cpu_count() or 1)


def _runs(task: Path) -> bool:
    try:
        return task.joinpath("stat").read_text().rpartition(")")[2].split()[0] == "R"
    except OSError:  # it has ended since
        return False
