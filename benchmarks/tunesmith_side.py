"""Tunesmith's side of a comparison: one step whenever it is told to go, with what it took on stdout."""

import json
import resource
import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

from tunesmith.data.example import Origin
from tunesmith.models.allocator import keep_freed_memory
from tunesmith.models.load import load_model
from tunesmith.models.methods import apply
from tunesmith.models.probe import probe
from tunesmith.models.settings import Full, Lora
from tunesmith.run.folder import versions
from tunesmith.run.resolve import CPU_TOKENS
from tunesmith.tokens.encoded import EncodedExample
from tunesmith.training.optimizer import build
from tunesmith.training.settings import TrainingSettings
from tunesmith.training.step import Pass, backward, gradient_norm


def product_speed(size: int = 1024) -> float:
    """Operations a second of a large square product in float32."""
    a, b = torch.randn(size, size), torch.randn(size, size)
    return 2 * size**3 / shortest(lambda: a @ b, times=8)


def own_speed(shapes: Counter[tuple[int, int]], tokens: int, *, lora: bool) -> float:
    """The same of a step's products with matrices [O, I] of these shapes and so many tokens, one after the other."""
    done = seconds = 0.0
    for (outputs, inputs), count in shapes.items():
        w, x, g = torch.randn(outputs, inputs), torch.randn(tokens, inputs), torch.randn(tokens, outputs)
        products: list[Callable[[], object]] = [lambda x=x, w=w: x @ w.t(), lambda g=g, w=w: g @ w]  # type: ignore[misc]
        products += [] if lora else [lambda g=g, x=x: g.t() @ x]  # type: ignore[misc]
        seconds += count * sum(shortest(product, times=3) for product in products)
        done += count * len(products) * 2 * outputs * inputs * tokens
    return done / seconds


def shortest(product: Callable[[], object], *, times: int) -> float:
    """Seconds of the fastest of some calls."""
    best = float("inf")
    for _ in range(times):
        began = time.perf_counter()
        product()
        best = min(best, time.perf_counter() - began)
    return best


def main(job: dict[str, Any]) -> None:
    """Load, wait, step."""
    origin = Origin(job["work"], 0)
    rows = [
        EncodedExample(np.array(r["ids"], np.int32), np.array(r["weights"], np.float32), origin) for r in job["rows"]
    ]
    model: Any = load_model(Path(job["folder"]), dtype=torch.float32)
    network = probe(model, longest=max(map(len, rows))).network
    lora = job["method"] == "lora"
    named = apply(Lora() if lora else Full(), model, seed=0).trainable
    settings = TrainingSettings(learning_rate=1e-5, weight_decay=0.0)
    optimizer = build(named, settings)
    keep_freed_memory()
    how = Pass(CPU_TOKENS, sharing=True)
    shapes: Counter[tuple[int, int]] = Counter(
        tuple(p.shape) for n, p in model.named_parameters() if p.ndim == 2 and "embed" not in n and "lora" not in n
    )
    matrices = sum(outputs * inputs * count for (outputs, inputs), count in shapes.items())
    head = model.get_output_embeddings().weight.numel()
    known = versions()
    said = f"tunesmith {known['tunesmith']}, torch {known['torch']}, transformers {known['transformers']}"
    print(json.dumps({"ready": True}), flush=True)
    for number in range(job["steps"]):
        if not sys.stdin.readline():
            return
        speed = product_speed()
        began = time.perf_counter()
        members = rows[number * job["batch"] : (number + 1) * job["batch"]]
        found = backward(network, members, how, dropout_seed=None)
        gradient_norm([p for _, p in named], clip=1.0)
        optimizer.step()
        optimizer.zero_grad()
        seconds = time.perf_counter() - began
        per_token = (4 if lora else 6) * matrices * found.computed_tokens
        own = own_speed(shapes, min(found.computed_tokens, CPU_TOKENS), lora=lora)
        per_row = (4 if lora else 6) * head * found.supervised_tokens
        entry = {
            "loss": found.loss, "tokens": found.tokens, "computed_tokens": found.computed_tokens, "seconds": seconds,
            "utilisation": (per_token + per_row) / seconds / speed, "versions": said,
            "of_own": (per_token + per_row) / seconds / own,
            "gigabytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9,
        }  # fmt: skip
        print(json.dumps(entry), flush=True)


if __name__ == "__main__":
    main(json.loads(Path(sys.argv[1]).read_text()))
