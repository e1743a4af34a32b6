"""Classification by scoring every label: one trunk with the labels as branches, beside each label read alone.

The decision: both sides score the same labels after the same prompts through the same code; alone, each label stands
behind a prompt of its own, one example in a forward, as tools without sharing do it. The log-probabilities must agree.

    python benchmarks/labels.py TUNESMITH_DATA 24 8     queries by trunk, and labels of the first that are read alone
"""

import csv
import json
import sys
import time
from pathlib import Path

import numpy as np

from tunesmith.batches.forest import PrefixForest
from tunesmith.data.example import Message, Origin
from tunesmith.evaluation.question import answer_ids
from tunesmith.generation import scoring
from tunesmith.generation.scoring import Choice, log_probabilities
from tunesmith.run.opened import open_model
from tunesmith.tokens.encoded import EncodedExample

MODEL = "smollm2-135m-instruct"


def choices(folder: Path, count: int) -> tuple[list[Choice], list[str]]:
    """The first queries of Banking77's test set with the 77 intents to choose between."""
    labels = json.loads((folder / "banking77/categories.json").read_text())
    encoder = open_model(MODEL, say=lambda text: None).encoder
    system = "Name the intent of the customer's message, one of: " + ", ".join(labels) + "."
    with (folder / "banking77/test.csv").open(newline="") as file:
        rows = [row["text"] for _, row in zip(range(count), csv.DictReader(file), strict=False)]
    endings = answer_ids(encoder, labels)
    return [
        Choice(encoder.prompt([Message("system", system), Message("user", text)]), endings) for text in rows
    ], labels


def computed(asked: list[Choice], *, sharing: bool) -> int:
    """Tokens that the network computes, as the batches are made."""
    examples = [
        EncodedExample(np.array([*c.prompt, *o], np.int32), np.ones(len(c.prompt) + len(o), np.float32), Origin("", 0))
        for c in asked
        for o in c.options
    ]
    if not sharing:
        return sum(len(example) for example in examples)
    parts = scoring.plan(examples, budget=scoring.TOKENS_AT_ONCE)
    return sum(PrefixForest([examples[i] for i in part]).tokens for part in parts)


def main(folder: Path, count: int, alone: int) -> None:
    asked, labels = choices(folder, count)
    opened = open_model(MODEL, say=lambda text: None)
    network = opened.network(len(asked[0].prompt) + 32)
    began = time.process_time()
    found = log_probabilities(network, asked)
    shared = time.process_time() - began
    first, some = asked[0], range(0, len(labels), max(1, len(labels) // alone))
    began = time.process_time()
    each = [log_probabilities(network, [Choice(first.prompt, [first.options[i]])])[0][0] for i in some]
    apart = (time.process_time() - began) / len(some) * len(labels)
    worst = max(abs(nats - found[0][i]) for nats, i in zip(each, some, strict=True))
    tokens, all_of = computed(asked, sharing=True), computed(asked, sharing=False)
    print(
        f"{count} queries, {len(labels)} labels: {tokens:,} tokens computed by trunk, {all_of:,} alone: "
        f"{all_of / tokens:.1f} times fewer"
    )
    print(
        f"seconds of CPU a query: {shared / count:.2f} by trunk, {apart:.1f} alone (from {len(some)} labels of one): "
        f"{apart * count / shared:.1f} times; largest difference {worst:.1e} nats"
    )


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))
