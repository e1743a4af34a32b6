"""What shared beginnings save: trees of replies, preference pairs, and the options of one question.

    python benchmarks/sharing.py WORK [STEPS]        (WORK: trees, pairs or options; data from TUNESMITH_DATA)

Each step runs twice in one process, taking turns: as a forest, and packed flat (every example whole, one after the
other, no padding). Trees: conversations of six turns with two answers at each of the three places, texts of Alpaca, the
last answer learned. Pairs: chosen and rejected answers of one conversation, both learned. Options: MMLU, five shots of
the subject and the four letters, scored without a gradient. Seconds are those of forward and backward; AdamW, which
costs the same either way, is left out. Prints one row of benchmarks/RESULTS.md: how many times fewer tokens, how many
times faster, and how far the losses are apart.
"""

import csv
import itertools
import json
import os
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch

from tunesmith.data.example import Example, Message, Origin
from tunesmith.models.allocator import keep_freed_memory
from tunesmith.models.load import load_model
from tunesmith.models.probe import probe
from tunesmith.models.sources import resolve
from tunesmith.run.resolve import CPU_TOKENS
from tunesmith.tokens.encode import Encoder
from tunesmith.tokens.encoded import EncodedExample
from tunesmith.tokens.tokenizer import Tokenizer
from tunesmith.training.step import Measured, Pass, backward, measure

Turns = list[tuple[str, str]]


def trees(data: Path) -> Iterator[list[Turns]]:
    """Eight conversations a tree: every path through three places with two answers each."""
    rows = json.loads((data / "llamafactory_demo/alpaca_en_demo.json").read_text(encoding="utf-8"))
    texts = [(r["instruction"] + "\n" + r["input"], r["output"]) for r in rows]
    nodes = 1 + 2 + 4
    for first in range(0, len(texts) - 2 * nodes, 2 * nodes):
        own = texts[first : first + 2 * nodes]
        paths = []
        for path in itertools.product((0, 1), repeat=3):
            places = [0, 1 + path[0], 3 + 2 * path[0] + path[1]]
            turns: Turns = []
            for place, side in zip(places, path, strict=True):
                turns += [("user", own[2 * place][0]), ("assistant", own[2 * place + side][1])]
            paths.append(turns)
        yield paths


def pairs(data: Path) -> Iterator[list[Turns]]:
    """Four preference pairs a step: two answers to one conversation each."""
    rows = json.loads((data / "llamafactory_demo/dpo_en_demo.json").read_text(encoding="utf-8"))
    names = {"human": "user", "gpt": "assistant", "system": "system"}
    for first in range(0, len(rows), 4):
        step = []
        for row in rows[first : first + 4]:
            asked = [(names[turn["from"]], turn["value"]) for turn in row["conversations"]]
            step += [[*asked, ("assistant", row[side]["value"])] for side in ("chosen", "rejected")]
        yield step


def options(data: Path) -> Iterator[list[Turns]]:
    """One question of MMLU a step, behind five shots: its four letters."""
    letters = "ABCD"

    def asked(row: list[str]) -> str:
        return row[0] + "\n" + "\n".join(f"{letter}. {text}" for letter, text in zip(letters, row[1:5], strict=True))

    for file in sorted((data / "mmlu/test").glob("*.csv")):
        name = file.name.replace("_test", "_dev")
        with (data / "mmlu/dev" / name).open(encoding="utf-8", newline="") as opened:
            shots = [turn for row in csv.reader(opened) for turn in (("user", asked(row)), ("assistant", row[5]))]
        with file.open(encoding="utf-8", newline="") as opened:
            for row in itertools.islice(csv.reader(opened), 1):
                yield [[*shots, ("user", asked(row)), ("assistant", letter)] for letter in letters]


WORKS: dict[str, Callable[[Path], Iterator[list[Turns]]]] = {"trees": trees, "pairs": pairs, "options": options}


def main(work: str, steps: int) -> None:
    """Encode, take turns, print."""
    keep_freed_memory()
    folder = resolve("smollm2-135m-instruct").folder
    model: Any = load_model(folder, dtype=torch.float32)
    network = probe(model, longest=2048).network
    encoder = Encoder(Tokenizer.load(folder), train_on="last_assistant")

    def encoded(turns: Turns) -> EncodedExample:
        return encoder.encode(Example(tuple(Message(role, text) for role, text in turns), Origin(work, 0)))

    def run(members: list[EncodedExample], *, sharing: bool) -> tuple[float, Measured]:
        began = time.perf_counter()
        how = Pass(CPU_TOKENS, sharing=sharing)
        found = (
            measure(network, members, how) if work == "options" else backward(network, members, how, dropout_seed=None)
        )
        seconds = time.perf_counter() - began
        model.zero_grad()
        return seconds, found

    seconds: dict[bool, list[float]] = {True: [], False: []}
    tokens = {True: 0, False: 0}
    apart = 0.0
    for number, turns in enumerate(itertools.islice(WORKS[work](Path(os.environ["TUNESMITH_DATA"])), steps + 1)):
        members = [encoded(t) for t in turns]
        found = {}
        for sharing in (True, False):
            took, found[sharing] = run(members, sharing=sharing)
            if number:  # the first pass sets memory aside
                seconds[sharing].append(took)
                tokens[sharing] += found[sharing].computed_tokens
        apart = max(apart, abs(found[True].loss - found[False].loss) / found[False].loss)
    fewer, faster = tokens[False] / tokens[True], sum(seconds[False]) / sum(seconds[True])
    row = [
        time.strftime("%Y-%m-%d", time.gmtime()), work, str(steps), f"{tokens[False]:,} / {tokens[True]:,}",
        f"{fewer:.2f}×", f"**{faster:.2f}×**", f"{100 * (faster / fewer - 1):+.0f} %",
        f"{statistics.median(seconds[True]):.2f}", f"{apart:.0e}", f"{torch.get_num_threads()} threads",
    ]  # fmt: skip
    print("| " + " | ".join(row) + " |")


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]) if len(sys.argv) > 2 else 6)
