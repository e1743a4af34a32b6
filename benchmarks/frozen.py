"""What stored states of frozen layers save: a full step, a frozen one, and a frozen one that starts from stored states.

    python benchmarks/frozen.py [EXAMPLES.jsonl] [STEPS]

Batches of 8 examples (of the sample task by default), the lower three quarters of the layers frozen. The three take
turns in one process, so that other work on the machine falls on all alike. The pass that makes the states is timed
apart. Prints the median seconds of a step, and how far the losses of the two frozen ones are apart (they must agree).
"""

import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from tunesmith.data.example import Example
from tunesmith.data.reading import read_examples
from tunesmith.models.load import load_model
from tunesmith.models.lower import Lower, StoredStates, store
from tunesmith.models.methods import apply
from tunesmith.models.probe import probe
from tunesmith.models.settings import Frozen, Full, Method
from tunesmith.models.sources import resolve
from tunesmith.run.resolve import CPU_TOKENS
from tunesmith.tokens.encode import Encoder
from tunesmith.tokens.encoded import EncodedExample
from tunesmith.tokens.tokenizer import Tokenizer
from tunesmith.training.loop import Base
from tunesmith.training.optimizer import build
from tunesmith.training.settings import TrainingSettings
from tunesmith.training.step import Pass, backward, gradient_norm

BATCH, HOW = 8, Pass(CPU_TOKENS, sharing=True)
SAMPLE = Path(__file__).parents[1] / "recipes" / "support" / "train.jsonl"


@dataclass(slots=True)
class Trainer:
    """One of the three: what it takes for a step, and what its steps gave."""

    step: Callable[[int], float]
    seconds: list[float] = field(default_factory=list)
    losses: list[float] = field(default_factory=list)
    storing: float = 0.0

    @classmethod
    def of(cls, folder: Path, examples: list[EncodedExample], method: Method, *, stored: bool) -> "Trainer":
        """A model of its own with its optimizer; where `stored`, with the states of its frozen layers."""
        model: Any = load_model(folder, dtype=torch.float32)
        network = probe(model, longest=max(map(len, examples))).network
        applied = apply(method, model, seed=0)
        optimizer = build(applied.trainable, TrainingSettings(learning_rate=1e-5, weight_decay=0.0))
        base, began = Base(), time.perf_counter()
        if stored:
            lower = Lower(network, applied.lowest_trained_layer)
            found = store(lower, examples, budget=HOW.budget, sharing=True, most_bytes=4 << 30)
            assert isinstance(found, StoredStates), found
            base = Base(stored=found)

        def step(number: int) -> float:
            indices = range(number * BATCH, (number + 1) * BATCH)
            members = [examples[i] for i in indices]
            loss = backward(network, members, base.enter(HOW, indices), dropout_seed=None).loss
            gradient_norm([p for _, p in applied.trainable], clip=1.0)
            optimizer.step()
            optimizer.zero_grad()
            return loss

        return cls(step, storing=time.perf_counter() - began)

    def go(self, number: int) -> None:
        """One step by the clock."""
        began = time.perf_counter()
        self.losses.append(self.step(number))
        self.seconds.append(time.perf_counter() - began)

    @property
    def median(self) -> float:
        """Seconds of a step; the first, which makes the optimizer's state, does not count."""
        return statistics.median(self.seconds[1:])


def main(file: Path, steps: int) -> None:
    """Encode, take turns, print."""
    folder = resolve("smollm2-135m-instruct").folder
    encoder = Encoder(Tokenizer.load(folder))
    read = [example for example in read_examples(file).examples if isinstance(example, Example)]
    examples = [encoder.encode(example) for example in read[: BATCH * steps]]
    kinds: dict[str, tuple[Method, bool]] = {
        "full": (Full(), False),
        "frozen": (Frozen(), False),
        "frozen, stored": (Frozen(), True),
    }
    trainers = {name: Trainer.of(folder, examples, method, stored=stored) for name, (method, stored) in kinds.items()}
    for number in range(steps):
        for trainer in trainers.values():
            trainer.go(number)
    full, frozen, stored = trainers.values()
    for name, trainer in trainers.items():
        print(f"{name:16} {trainer.median:6.2f} s a step, {full.median / trainer.median:4.2f} times as fast as full")
    apart = max(abs(a - b) / b for a, b in zip(stored.losses, frozen.losses, strict=True))
    print(f"the states of {len(examples)} examples took {stored.storing:.1f} s; losses apart by {apart:.1e}")


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else SAMPLE, int(sys.argv[2]) if len(sys.argv) > 2 else 6)
