"""What a recipe leaves open, filled in once, each value with its reason.

The decision: defaults follow the method, the number of examples and the machine's *total* memory, never its free
memory or its load, so a resumed run on the same machine rounds as the first did. The reasons are printed, and written
into the run's recipe.
"""

import math
import os
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from tunesmith.batches.order import steps_per_epoch
from tunesmith.models.settings import Lora
from tunesmith.recipe import Loaded, Recipe
from tunesmith.training.schedule import warmup_steps
from tunesmith.training.settings import USUAL_RATE

DANGEROUS = 10.0
"""A learning rate so many times the method's usual one is named before training."""

CPU_TOKENS = 3072
"""Answers to one long prompt that do not fit into one micro-batch compute the prompt twice: 64 rows of Banking77 take
up to 2,500 tokens, and a step that is divided runs at four fifths of the speed. A third as many make a step of LoRA up
to 20 % slower on a CPU, one of all weights up to 10 %, and save up to 1.3 GB at 135M weights."""
GPU_TOKENS = 16384
MEMORY_SHARE = 0.25
"""How much of the machine's memory the activations of one micro-batch may take."""


@dataclass(frozen=True, slots=True)
class Shapes:
    """What the memory of a step depends on."""

    layers: int
    hidden: int
    intermediate: int

    @classmethod
    def of(cls, config: Any) -> "Shapes":
        """The shapes of a transformers configuration; an unusual one is taken as four times as wide inside."""
        text = config.get_text_config()
        hidden = int(text.hidden_size)
        inner = getattr(text, "intermediate_size", None) or getattr(text, "ffn_dim", None) or 4 * hidden
        inner = max(inner) if isinstance(inner, list | tuple) else inner
        return cls(int(text.num_hidden_layers), hidden, int(inner))

    def bytes_per_token(self, width: int) -> int:
        """Activations kept for the backward, per token: about 10 of the hidden size and 5 of the inner, per layer."""
        return self.layers * (10 * self.hidden + 5 * self.intermediate) * width


def total_memory(device: str) -> int:
    """Bytes of memory that the machine (or the GPU) has in all."""
    if device == "cuda":
        import torch  # takes seconds, and a check of data does without

        return int(torch.cuda.get_device_properties(0).total_memory)
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def resolve(loaded: Loaded, *, examples: int, longest: int, validated: bool, shapes: Shapes, device: str) -> Loaded:
    """The recipe with nothing left open."""
    asked = loaded
    for name, choose in (
        ("training.dtype", lambda r: _dtype(r, device)),
        ("training.threads", lambda r: _threads()),
        ("training.learning_rate", _learning_rate),
        ("training.batch_size", lambda r: _batch_size(r, examples)),
        ("training.epochs", lambda r: _epochs(r, examples)),
        ("training.validation.patience", lambda r: _patience(r, asked, validated)),
        ("training.steps", lambda r: _steps(r, examples)),
        ("training.weight_decay", _weight_decay),
        ("training.warmup", _warmup),
        ("training.micro_batch_tokens", lambda r: _budget(r, longest, shapes, device)),
    ):
        if setting(loaded.recipe, name) in (None, "auto"):
            value, reason = choose(loaded.recipe)
            if value is not None:
                loaded = loaded.resolve(name, value, reason)
    training = loaded.recipe.training
    warmup_steps(training.warmup, training.steps or 1)  # refuses one that leaves no room
    return loaded


def dangers(recipe: Recipe, *, examples: int, validated: bool) -> Iterator[str]:
    """Sentences about choices that often end badly."""
    usual, rate = USUAL_RATE[recipe.method.kind], recipe.training.learning_rate
    if rate is not None and rate > DANGEROUS * usual:
        yield (
            f"training.learning_rate {rate:g} is {rate / usual:.0f} times the usual {usual:g} of {recipe.method.kind}; "
            "training may diverge or destroy what the model knows."
        )
    if not validated:
        yield (
            "there is no validation data, so nothing will tell when the model starts to learn by heart "
            "(data.validation=0.05 sets a share aside)."
        )
    if examples < 50:
        yield f"{examples} examples are few; gains are usually seen from 50 to 100 on."


def setting(recipe: Recipe, name: str) -> Any:
    """The value of a setting by its dotted name."""
    value: Any = recipe
    for part in name.split("."):
        value = getattr(value, part)
    return value


def _dtype(recipe: Recipe, device: str) -> tuple[str, str]:
    if device == "cuda":
        return "bfloat16", "what this GPU computes fastest"
    return "float32", "exact, and the fastest that this CPU does well"


def _threads() -> tuple[int, str]:
    import torch

    return torch.get_num_threads(), "one for each core that this process may use"


def _learning_rate(recipe: Recipe) -> tuple[float, str]:
    return USUAL_RATE[recipe.method.kind], f"usual for {recipe.method.kind}"


def _batch_size(recipe: Recipe, examples: int) -> tuple[int, str]:
    if isinstance(recipe.method, Lora) or examples < 1000:
        return min(8, examples), f"usual for {recipe.method.kind} on {examples:,} examples"
    return 16, f"usual for {recipe.method.kind} on {examples:,} examples"


def _epochs(recipe: Recipe, examples: int) -> tuple[int | None, str]:
    if recipe.training.steps is not None:
        return None, ""
    few = [(200, 15), (500, 10), (1000, 6)] if isinstance(recipe.method, Lora) else [(200, 5), (500, 4)]
    for limit, epochs in few:
        if examples < limit:
            return epochs, f"{examples:,} examples are few for {recipe.method.kind}, so they are seen more often"
    return 3, f"usual for {recipe.method.kind} on {examples:,} examples"


def _patience(recipe: Recipe, asked: Loaded, validated: bool) -> tuple[int | None, str]:
    """Many epochs by our own choice come with early stopping; by the user's choice they do not."""
    chosen = asked.recipe.training
    if chosen.epochs is None and chosen.steps is None and validated and (recipe.training.epochs or 0) > 3:
        return 3, "many epochs, so training ends when the validation set has not improved three times"
    return None, ""


def _steps(recipe: Recipe, examples: int) -> tuple[int, str]:
    epochs, batch = recipe.training.epochs or 1, recipe.training.batch_size or 1
    per_epoch = steps_per_epoch(examples, batch)
    return epochs * per_epoch, f"{epochs} epochs of {per_epoch} steps"


def _weight_decay(recipe: Recipe) -> tuple[float, str]:
    return (0.0 if isinstance(recipe.method, Lora) else 0.01), f"usual for {recipe.method.kind}"


def _warmup(recipe: Recipe) -> tuple[float, str]:
    share = 0.03 if isinstance(recipe.method, Lora) else 0.05
    return share, f"usual for {recipe.method.kind}"


def _budget(recipe: Recipe, longest: int, shapes: Shapes, device: str) -> tuple[int, str]:
    width = 2 if recipe.training.dtype == "bfloat16" else 4
    memory = total_memory(device)
    fits = int(MEMORY_SHARE * memory / shapes.bytes_per_token(width))
    most = GPU_TOKENS if device == "cuda" else CPU_TOKENS
    chosen = min(most, fits // 1024 * 1024) if fits > 1024 else max(1 << int(math.log2(max(fits, 1))), 64)
    reason = f"{shapes.bytes_per_token(width) / 2**20:.1f} MiB a token, {memory / 2**30:.0f} GiB in this machine"
    if longest > chosen:
        reason += f"; longer examples (up to {longest:,} tokens) are computed alone"
    return chosen, reason
