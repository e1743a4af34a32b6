"""What an epoch will cost on this machine: seconds and bytes, before a model is loaded.

The decision: few terms, each with a reason. Time is the arithmetic of the computed tokens (Kaplan et al., 2020, section
2.1: a multiply-add for each weight forward, two backward, one of which LoRA spares where weights are frozen), what is
no matrix product (norms, attention, gates; it follows the activations), and the optimizer's pass over what trains; all
over the speed of a matrix product that is measured here. Memory is weights, gradients, AdamW's two moments, and the
activations of the largest micro-batch. The terms' sizes were fitted on SmolLM2-135M, both methods, two recipes.
"""

import time
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING

from tunesmith.models.fingerprint import weight_files
from tunesmith.models.folder import tensor_shapes
from tunesmith.models.settings import Lora, Method
from tunesmith.run.facts import Facts, speed
from tunesmith.run.resolve import Shapes

if TYPE_CHECKING:
    import torch

PROCESS_BYTES = 550 * 2**20
"""Python with torch and transformers loaded, before any weight."""
ADAMW_BYTES = 12
"""For each trained parameter: its gradient and two moments in float32."""
BESIDE = 900
"""Operations of a matrix product that take as long as what else is done for one activation, forward and backward."""
UPDATE = 140
"""Operations of a matrix product that take as long as the update of one parameter."""
KEPT, KEPT_BY_LORA = 0.5, 0.75
"""The share of `bytes_per_token` that fused modules keep for the backward; adapters keep their own inputs besides."""
MEASURED_SECONDS = 0.4
FEW = 4
"""Threads up to which products of such shapes run so many times as fast as by one."""


@dataclass(frozen=True, slots=True)
class Weights:
    """The parameters of a model folder: all, those of its output matrix and of its tables, and LoRA's for each rank."""

    parameters: int
    output: int
    embeddings: int
    lora_per_rank: int

    @classmethod
    def of(cls, folder: Path, about: Facts) -> "Weights":
        """Counted from the headers of the folder's safetensors files, without reading a value."""
        output = about.vocabulary * about.shapes.hidden
        shapes = [shape for file in weight_files(folder) for _, shape in tensor_shapes(file).values()]
        matrices = [s for s in shapes if len(s) == 2 and about.vocabulary not in s]
        tables = sum(prod(s) for s in shapes if len(s) == 2 and about.vocabulary in s)
        return cls(sum(map(prod, shapes)), output, tables, sum(sum(shape) for shape in matrices))


@dataclass(frozen=True, slots=True)
class Work:
    """What one epoch computes: tokens through the blocks, rows through the output matrix, the most tokens at once, and
    updates.
    """

    tokens: int
    rows: int
    most_at_once: int
    steps: int


@dataclass(frozen=True, slots=True)
class Estimate:
    """Seconds of training for one epoch (validation and saving left out), and the most memory that the run holds.

    `dollars_per_epoch` is what a service would take for the tokens of an epoch, where a price was named.
    """

    seconds_per_epoch: float
    peak_bytes: int
    dollars_per_epoch: float | None = None


def estimate(work: Work, weights: Weights, shapes: Shapes, method: Method, *, width: int = 4) -> Estimate:
    """The cost of an epoch by `method` (of a frozen run: as if all of it trained), with `width` bytes a number."""
    adapters = weights.lora_per_rank * method.rank if isinstance(method, Lora) else 0
    trained = adapters or weights.parameters
    operations = (4 if adapters else 6) * (
        (weights.parameters - weights.embeddings) * work.tokens + weights.output * work.rows
    )
    operations += 6 * adapters * work.tokens
    operations += BESIDE * shapes.bytes_per_token(1) * work.tokens + UPDATE * trained * work.steps
    peak = PROCESS_BYTES + weights.parameters * width + trained * ADAMW_BYTES + adapters * width
    peak += round((KEPT_BY_LORA if adapters else KEPT) * shapes.bytes_per_token(width) * work.most_at_once)
    # Powers of two, so that what was measured once serves many sets.
    rows = 1 << min(max(work.most_at_once, 64), 2048).bit_length() - 1
    fast = speed(f"products {shapes.hidden} {shapes.intermediate} {rows}", lambda: product_speed(shapes, rows))
    return Estimate(operations / fast, peak)


def product_speed(shapes: Shapes, rows: int) -> float:
    """Floating-point operations a second of a matrix product of the model's own shapes, measured for half a second.

    The fastest product counts, and on a CPU the time that it ran, not that in which others did: a busy machine is asked
    what it will do for a run that has it alone. Threads that wait for each other on a busy machine are not slow for
    that reason, so a few count as so many times one.
    """
    import torch

    device = "cuda" if torch.cuda.is_available() else "cpu"
    dtype = torch.bfloat16 if device == "cuda" else torch.float32
    left = torch.ones(min(rows, 2048), shapes.hidden, device=device, dtype=dtype)
    right = torch.ones(shapes.hidden, shapes.intermediate, device=device, dtype=dtype)
    together = _measured(left, right)
    if device == "cuda" or (threads := torch.get_num_threads()) == 1:
        return together
    torch.set_num_threads(1)
    try:
        return max(together, _measured(left, right) * min(threads, FEW))
    finally:
        torch.set_num_threads(threads)


def _measured(left: "torch.Tensor", right: "torch.Tensor") -> float:
    """Operations a second of the fastest of many products, by all threads that torch uses."""
    import torch

    _wait(left @ right)  # the first product warms up and does not count
    began = time.perf_counter()
    _wait(left @ right)
    # A clock of processor time may be coarse, so small products are timed many at once.
    times = max(1, round(0.02 / max(time.perf_counter() - began, 1e-6)))
    ran: list[float] = []
    until = time.perf_counter() + MEASURED_SECONDS
    while len(ran) < 3 or time.perf_counter() < until:
        wall, busy = time.perf_counter(), time.process_time()
        for _ in range(times):
            _wait(left @ right)
        wall, busy = time.perf_counter() - wall, time.process_time() - busy
        ran.append(min(wall, busy / torch.get_num_threads()) if left.device.type == "cpu" and busy > 0 else wall)
    return 2.0 * times * left.shape[0] * right.numel() / min(ran)


def _wait(product: "torch.Tensor") -> None:
    if product.device.type == "cuda":
        product.cpu()
