"""What grows with the data and what does not: start-up, memory and steps by the number and the length of examples.

    python benchmarks/growth.py examples 1000 10000 100000 1000000
    python benchmarks/growth.py length 1024 2048 4096 8192            all layers of the default model
    python benchmarks/growth.py length 8192 16384 32768 --layers 4    the first of them

Every row is a process of its own. `examples`: a generated file of so many conversations (about 790 bytes each) and a
thin random model, so that the data show: seconds until the examples are ready to be trained, the first time (read,
checked, encoded) and the second, what a process that trains 20 steps holds at most, and the seconds of a step for every
thousand computed tokens. `length`: one forward and backward of one example, adapters on all matrices, every second
token learned; memory is what the process held beyond the loaded model.
"""

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from encode import write_rows

MODEL = "smollm2-135m-instruct"


def thin_model(folder: Path) -> None:
    """Two narrow layers with random weights, and the tokenizer of the default model."""
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer

    from tunesmith.models.sources import resolve

    source = resolve(MODEL).folder
    shape = {"hidden_size": 64, "num_hidden_layers": 2, "num_attention_heads": 1, "num_key_value_heads": 1}
    config = AutoConfig.from_pretrained(source, intermediate_size=128, **shape)
    torch.manual_seed(0)
    AutoModelForCausalLM.from_config(config).save_pretrained(folder)
    AutoTokenizer.from_pretrained(source).save_pretrained(folder)


def prepared(file: str, model: str, run: str) -> dict[str, Any]:
    """Seconds until the data are ready, and those of the steps where `run` is named."""
    from tunesmith.recipe import load_recipe
    from tunesmith.run.prepare import prepare
    from tunesmith.run.train import train

    settings = [
        f"model={model}",
        f"run={run or file + '.none'}",
        "data.validation=0",
        "data.test=0",
        "method.kind=full",
    ]
    recipe = load_recipe(
        file, [*settings, "training.steps=20", "training.batch_size=8", "training.micro_batch_tokens=1024"]
    )
    began = time.perf_counter()
    prepare(recipe, say=lambda _: None)
    found: dict[str, Any] = {"seconds": time.perf_counter() - began}
    if run:
        train(recipe, say=lambda _: None)
        journal = [json.loads(line) for line in (Path(run) / "metrics.jsonl").read_text().splitlines()]
        found["step"] = statistics.median(e["seconds"] / e["computed_tokens"] * 1000 for e in journal[5:])
    return found


def long_example(length: int, layers: int) -> dict[str, Any]:
    """One forward and backward of one example of so many tokens."""
    import torch

    from tunesmith.data.example import Origin
    from tunesmith.models.allocator import keep_freed_memory
    from tunesmith.models.load import load_model
    from tunesmith.models.methods import apply
    from tunesmith.models.probe import probe
    from tunesmith.models.settings import Lora
    from tunesmith.models.sources import resolve
    from tunesmith.tokens.encoded import EncodedExample
    from tunesmith.training.step import Pass, backward

    keep_freed_memory()
    model: Any = load_model(resolve(MODEL).folder, dtype=torch.float32)
    if layers:
        del model.model.layers[layers:]
        model.config.num_hidden_layers = layers
        model.config.layer_types = (getattr(model.config, "layer_types", None) or [])[:layers] or None
    network = probe(model, longest=min(length, 8192)).network
    apply(Lora(), model, seed=0)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    ids = np.random.default_rng(0).integers(100, 40_000, length).astype(np.int32)
    weights = (np.arange(length) % 2).astype(np.float32)
    began = time.perf_counter()
    backward(network, [EncodedExample(ids, weights, Origin("", 0))], Pass(1024, sharing=True), dropout_seed=None)
    more = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    return {"seconds": time.perf_counter() - began, "more": more / 2**20, "forest": network.forest}


def child(what: str, *arguments: str | int) -> dict[str, Any]:
    """The answer of this file's `what`, run in a process of its own, with the most that it held, in GiB."""
    command = [sys.executable, __file__, "child", what, json.dumps(arguments)]
    done = subprocess.run(command, stdout=subprocess.PIPE, check=True, text=True)
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def main() -> None:
    """Print a table."""
    if sys.argv[1:2] == ["child"]:
        act = {"prepared": prepared, "long_example": long_example}[sys.argv[2]]
        found = act(*json.loads(sys.argv[3]))  # type: ignore[operator]
        print(json.dumps({**found, "held": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20}))
        return
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["examples", "length"])
    parser.add_argument("sizes", type=int, nargs="+")
    parser.add_argument("--layers", type=int, default=0, help="so many of the model's layers; 0: all")
    asked = parser.parse_args()
    for size in asked.sizes:
        if asked.what == "length":
            found = child("long_example", size, asked.layers)
            each = found["more"] * 2**20 / size
            row = [
                f"{size:,}",
                f"{found['seconds']:.1f}",
                f"{found['more']:.2f}",
                f"{each:,.0f}",
                f"{found['held']:.1f}",
            ]
        else:
            with tempfile.TemporaryDirectory() as folder:
                os.environ["TUNESMITH_HOME"] = folder
                file, model = Path(folder) / "rows.jsonl", Path(folder) / "model"
                write_rows(file, size)
                thin_model(model)
                first, second = (child("prepared", str(file), str(model), "") for _ in range(2))
                steps = child("prepared", str(file), str(model), str(Path(folder) / "run"))
            row = [
                f"{size:,}", f"{first['seconds']:.1f}", f"{first['held']:.2f}", f"{second['seconds']:.2f}",
                f"{steps['held']:.2f}", f"{1000 * steps['step']:.1f}",
            ]  # fmt: skip
        print("| " + " | ".join(row) + " |", flush=True)


if __name__ == "__main__":
    main()
