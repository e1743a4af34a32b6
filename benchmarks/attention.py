"""Attention over a forest by compiled code and by torch's flash kernel, in turn in one process.

    python benchmarks/attention.py

Forward and backward of one layer, the best of nine calls each, in milliseconds and in useful operations a second (what
causality and the forest hide is not counted). Prints a table.
"""

import time
from collections.abc import Callable

import torch

from tunesmith.batches.batch import Batch
from tunesmith.batches.forest import PrefixForest
from tunesmith.data.example import Origin
from tunesmith.models.allocator import keep_freed_memory
from tunesmith.models.attention import Layout, back, onward
from tunesmith.models.native import attention as native
from tunesmith.tokens.encoded import EncodedExample

HEADS = {"SmolLM2-135M": (9, 3, 64), "Gemma 3 270M": (4, 1, 256), "Qwen3-0.6B": (16, 8, 128), "GPT-2": (12, 12, 64)}
"""Query heads, key/value heads and their size."""
WORK = {
    "8 examples of 70 tokens": ("SmolLM2-135M", 0, [70] * 8),
    "8 examples of 170 tokens": ("SmolLM2-135M", 0, [170] * 8),
    "8 examples of 300 tokens": ("SmolLM2-135M", 0, [300] * 8),
    "64 answers of 22 tokens to one prompt of 580": ("SmolLM2-135M", 580, [22] * 64),
    "16 answers of 22 tokens to one prompt of 580": ("SmolLM2-135M", 580, [22] * 16),
    "one example of 3,000 tokens": ("SmolLM2-135M", 0, [3000]),
    "4 examples of 300 tokens, heads of Gemma 3 270M": ("Gemma 3 270M", 0, [300] * 4),
    "4 examples of 300 tokens, heads of Qwen3-0.6B": ("Qwen3-0.6B", 0, [300] * 4),
    "4 examples of 300 tokens, heads of GPT-2": ("GPT-2", 0, [300] * 4),
}
"""Whose heads, and the lengths of a shared beginning and of what stands on it."""


def main() -> None:
    """Measure all of it."""
    keep_freed_memory()
    if not native.suits(torch.zeros(1)):
        raise SystemExit("nothing could be compiled here")
    print("| work | torch's kernel, forward + backward, ms | compiled, ms | ratio | GFLOP/s, torch's / compiled |")
    print("|---|---|---|---|---|")
    for name, (model, trunk, lengths) in WORK.items():
        batch = batch_of(trunk, lengths)
        heads, groups, size = HEADS[model]
        theirs, ours = seconds(batch, heads, groups, size)
        done = useful(batch, heads, size) / 1e9
        print(
            f"| {name} | {1e3 * theirs:.1f} | {1e3 * ours:.1f} | {theirs / ours:.2f}× "
            f"| {done / theirs:.0f} / {done / ours:.0f} |"
        )


def batch_of(trunk: int, lengths: list[int]) -> Batch:
    """Examples with a beginning of `trunk` tokens in common, all that follows different."""
    generator = torch.Generator().manual_seed(0)
    shared = torch.zeros(trunk)
    made = []
    for place, length in enumerate(lengths):
        own = torch.randint(1000, (length + 1,), generator=generator) + 1000 * (place + 1)
        ids = torch.cat([shared, own]).to(torch.int32).numpy()
        weights = torch.ones(len(ids)).numpy()
        weights[0] = 0
        made.append(EncodedExample(ids, weights, Origin("made", place)))
    return PrefixForest(made).batch()


def seconds(batch: Batch, heads: int, groups: int, size: int) -> tuple[float, float]:
    """Forward and backward by torch's kernel, and by compiled code."""
    tokens, layout, scaling = len(batch.ids), Layout.of(batch), size**-0.5
    q, k, v, grad = (torch.randn(tokens, n, size) for n in (heads, groups, groups, heads))
    right = native._right

    def both() -> object:
        made = onward((q, k, v), layout, scaling)
        return back(grad, (q, k, v), made, layout, scaling)

    best = {True: float("inf"), False: float("inf")}
    for _ in range(9):
        for compiled in best:
            native._right = right if compiled else lambda: False  # type: ignore[assignment]
            best[compiled] = min(best[compiled], timed(both))
    native._right = right
    return best[False], best[True]


def timed(call: Callable[[], object]) -> float:
    """Seconds of one call."""
    began = time.perf_counter()
    call()
    return time.perf_counter() - began


def useful(batch: Batch, heads: int, size: int) -> float:
    """Operations: two products forward and five backward, for every pair of tokens that see each other."""
    return 14 * heads * size * float((batch.position + 1).sum())


if __name__ == "__main__":
    main()
