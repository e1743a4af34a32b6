"""What a step holds in memory, and what has to give way: how many blocks are computed again in the backward.

The decision: chosen once, before the first step, from the shapes of the model, the method and the device's *total*
memory, and said; never tried out by running into the wall. What gives way changes no number (`models.recompute`), so a
run may go on elsewhere with another choice.
"""

from dataclasses import dataclass
from typing import Any, Literal

import torch

from tunesmith.models.flex import padded_length
from tunesmith.models.methods import Applied
from tunesmith.run.resolve import Shapes

USABLE = 0.9
"""The share of a device's memory that is counted on; the rest is for kernels' own space, tiles of logits, and gaps."""
MOMENTS = 8
"""AdamW's two moments of a trained parameter in float32; the master of one in half precision comes besides."""

Recompute = Literal["auto", "none", "full"] | int


@dataclass(frozen=True, slots=True)
class Choice:
    """How many blocks are computed again, and the sentence that says why."""

    blocks: int
    reason: str


def standing_bytes(model: Any, applied: Applied) -> int:
    """Weights, and for what trains its gradient and the optimizer's state: what stands through the whole run."""
    tensors = {id(t): t for t in (*model.parameters(), *model.buffers())}.values()
    weights: int = sum(t.numel() * t.element_size() for t in tensors)
    of_trained: int = sum(
        p.numel() * (p.element_size() + MOMENTS + (0 if p.dtype == torch.float32 else 4)) for _, p in applied.trainable
    )
    return weights + of_trained


def choose(asked: Recompute, shapes: Shapes, *, tokens: int, width: int, standing: int, memory: int) -> Choice:
    """How many of the blocks that are learned through are computed again, for `tokens` computed at once.

    A block that is computed again keeps its input; while its turn lasts, it holds what any block holds. Numbers have
    `width` bytes.
    """
    blocks, tokens = shapes.layers, padded_length(tokens)
    of_block = tokens * shapes.bytes_per_token(width) // max(blocks, 1)
    of_input = tokens * shapes.hidden * width
    room = int(USABLE * memory) - standing

    def needed(again: int) -> int:
        return (blocks - again) * of_block + again * of_input + (of_block if again else 0)

    counts = {"none": 0, "full": blocks}
    fitting = next((n for n in range(blocks + 1) if needed(n) <= room), blocks)
    again = min(fitting if asked == "auto" else asked if isinstance(asked, int) else counts[asked], blocks)
    words = f"{again} of {blocks} blocks are" if again else "no block is"
    reason = (
        f"{_gb(standing)} stand and {_gb(needed(again))} come and go with {tokens:,} tokens, of {_gb(memory)}: "
        f"{words} computed twice"
    )
    if needed(again) > room:
        reason = f"warning: {reason}, and it may not fit; lower training.micro_batch_tokens or leave long examples out"
    return Choice(again, reason)


def _gb(count: int) -> str:
    return f"{count / 1e9:.1f} GB"
