"""Training on one GPU: tokens a second, utilisation and memory at the shapes of Qwen3, with random weights.

    python benchmarks/gpu.py                      every size and method: some minutes on an H100
    python benchmarks/gpu.py --sizes 0.6B 4B --methods lora qlora
    python benchmarks/gpu.py --tiny               a toy on whatever there is, in seconds: does the script work?

Every example is 2,048 tokens long and every token is a target, so nothing is shared or skipped: what is measured is the
step itself, optimizer included, after three that warm up. Utilisation counts 6 operations per matrix parameter and
token (LoRA: 4), 6 of attention per token, layer, dimension of the heads and position of an example, and nothing that is
computed twice, against the device's dense bf16 peak (`--peak`, in TFLOP/s; known for some). Prints a Markdown table
beside the figures that others published for LoRA in bf16 on one H100.
"""

import argparse
import gc
import resource
import sys
import time
from dataclasses import dataclass

import numpy as np
import torch
from transformers import AutoModelForCausalLM, Qwen3Config

from tunesmith.data.example import Origin
from tunesmith.models.methods import apply
from tunesmith.models.probe import probe
from tunesmith.models.settings import Full, Lora, Method
from tunesmith.run.settling import settle
from tunesmith.tokens.encoded import EncodedExample
from tunesmith.training.optimizer import build
from tunesmith.training.settings import TrainingSettings
from tunesmith.training.step import Pass, backward, gradient_norm

SHAPES = {  # hidden, inner, layers, heads, tied embeddings; 8 key/value heads of 128
    "0.6B": (1024, 3072, 28, 16, True),
    "1.7B": (2048, 6144, 28, 16, True),
    "4B": (2560, 9728, 36, 32, True),
    "8B": (4096, 12288, 36, 32, False),
}
METHODS: dict[str, Method] = {"lora": Lora(rank=16), "qlora": Lora(rank=16, quantize="nf4"), "full": Full()}
PUBLISHED = {"0.6B": "62,000 / 24,500", "1.7B": "37,500 / 23,000", "4B": "17,500 / 13,100", "8B": "11,600 / 9,100"}
"""Tokens a second with LoRA in bf16 on one H100: the best published, and Unsloth's."""
PEAKS = {"H100": 989.0, "H200": 989.0, "A100": 312.0}
WARM = 3


@dataclass(frozen=True, slots=True)
class Row:
    """What one measurement gave."""

    tokens_per_second: float
    utilisation: float | None
    gigabytes: float
    told: str


def config(size: str, *, tiny: bool) -> Qwen3Config:
    """The shapes of a size; of the toy, small ones."""
    hidden, inner, layers, heads, tied = (64, 128, 2, 4, True) if tiny else SHAPES[size]
    return Qwen3Config(
        hidden_size=hidden, intermediate_size=inner, num_hidden_layers=layers, num_attention_heads=heads,
        num_key_value_heads=2 if tiny else 8, head_dim=16 if tiny else 128, vocab_size=512 if tiny else 151936,
        tie_word_embeddings=tied, max_position_embeddings=40960,
    )  # fmt: skip


def examples(count: int, length: int, vocabulary: int) -> list[EncodedExample]:
    """Random tokens, all of them targets but the first."""
    rng = np.random.default_rng(0)
    weights = np.ones(length, np.float32)
    weights[0] = 0
    return [
        EncodedExample(rng.integers(0, vocabulary, length).astype(np.int32), weights, Origin("made", i))
        for i in range(count)
    ]


def measure(shapes: Qwen3Config, method: Method, asked: argparse.Namespace) -> Row:
    """Some steps of training, timed."""
    gc.collect()  # compiled blocks hold themselves, and the model before would count in the peak
    device = "cuda" if torch.cuda.is_available() else "cpu"
    if device == "cuda":
        torch.cuda.empty_cache()
    dtype = torch.bfloat16 if device == "cuda" else torch.float32
    torch.manual_seed(0)
    with torch.device(device):
        model = AutoModelForCausalLM.from_config(shapes, dtype=dtype).eval()
    told: list[str] = []
    found = probe(model, longest=asked.length)
    told.append(found.reason)
    applied = apply(method, model, seed=0)
    training = TrainingSettings(
        learning_rate=1e-5, weight_decay=0.0, micro_batch_tokens=asked.budget, compile=asked.compile
    )
    network = settle(found.network, applied, method, training, longest=asked.length, say=told.append)
    optimizer = build(applied.trainable, training)
    parameters = [p for _, p in applied.trainable]
    members = examples(asked.batch, asked.length, shapes.vocab_size)
    seconds = []
    for step in range(WARM + asked.steps):
        if step == WARM and device == "cuda":
            torch.cuda.reset_peak_memory_stats()
        began = time.perf_counter()
        backward(network, members, Pass(asked.budget, sharing=True), dropout_seed=None)
        gradient_norm(parameters, clip=1.0)
        optimizer.step()
        optimizer.zero_grad()
        if device == "cuda":
            torch.cuda.synchronize()
        seconds.append(time.perf_counter() - began)
    rate = asked.batch * asked.length / float(np.median(seconds[WARM:]))
    resident = 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    peak = torch.cuda.max_memory_allocated() if device == "cuda" else resident
    return Row(rate, utilisation(shapes, method, rate, asked), peak / 1e9, "; ".join(told))


def utilisation(shapes: Qwen3Config, method: Method, rate: float, asked: argparse.Namespace) -> float | None:
    """The share of the device's peak that useful operations reach; None where the peak is not known."""
    name = torch.cuda.get_device_name() if torch.cuda.is_available() else ""
    peak = asked.peak or next((value for known, value in PEAKS.items() if known in name), None)
    if peak is None:
        return None
    heads = shapes.head_dim * (2 * shapes.num_attention_heads + 2 * shapes.num_key_value_heads)
    layer = shapes.hidden_size * (heads + 3 * shapes.intermediate_size)
    matrices = shapes.num_hidden_layers * layer + shapes.hidden_size * shapes.vocab_size
    pairs = shapes.num_hidden_layers * shapes.num_attention_heads * shapes.head_dim * asked.length
    products = 6 if isinstance(method, Full) else 4
    # Two products forward and four backward over half of the square; the backward is never spared.
    return rate * (products * matrices + 6 * pairs) / (peak * 1e12)


def main(arguments: list[str]) -> None:
    """Measure what is asked for, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", nargs="+", choices=list(SHAPES), default=list(SHAPES))
    parser.add_argument("--methods", nargs="+", choices=list(METHODS), default=["lora", "full"])
    parser.add_argument("--batch", type=int, default=16, help="examples of an update")
    parser.add_argument("--length", type=int, default=2048, help="tokens of an example")
    parser.add_argument("--budget", type=int, default=16384, help="most tokens computed at once")
    parser.add_argument("--steps", type=int, default=10, help="steps that are timed")
    parser.add_argument("--compile", choices=["auto", "off"], default="auto")
    parser.add_argument("--peak", type=float, help="the device's dense bf16 peak in TFLOP/s")
    parser.add_argument("--tiny", action="store_true", help="a toy, in seconds")
    asked = parser.parse_args(arguments)
    if asked.tiny:
        asked.sizes, asked.batch, asked.length, asked.budget, asked.steps = ["0.6B"], 2, 64, 128, 2
    where = torch.cuda.get_device_name() if torch.cuda.is_available() else "CPU"
    print(f"{where}, torch {torch.__version__}; {asked.batch} examples of {asked.length:,} tokens an update\n")
    print("| model | method | tokens/s | published / Unsloth (LoRA) | utilisation | peak memory |")
    print("|---|---|---|---|---|---|")
    notes = []
    for size in asked.sizes:
        for name in asked.methods:
            label = "toy" if asked.tiny else f"Qwen3-{size}"
            published = PUBLISHED[size] if name == "lora" and not asked.tiny else "–"
            try:
                row = measure(config(size, tiny=asked.tiny), METHODS[name], asked)
            except torch.OutOfMemoryError:
                print(f"| {label} | {name} | out of memory | {published} | – | – |", flush=True)
                continue
            share = "–" if row.utilisation is None else f"{100 * row.utilisation:.0f} %"
            print(
                f"| {label} | {name} | {row.tokens_per_second:,.0f} | {published} | {share} | {row.gigabytes:.1f} GB |",
                flush=True,
            )
            notes.append(f"{label}, {name}: {row.told}")
    print("\n" + "\n".join(notes))


if __name__ == "__main__":
    main(sys.argv[1:])
