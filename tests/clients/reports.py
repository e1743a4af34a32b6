"""The pages that people open from their disk, made of tiny runs and of long answers, and the page for votes."""

import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from tiny_model import chat_file, tiny_model

from tunesmith.evaluation.compare import compare_tasks
from tunesmith.evaluation.item import Item
from tunesmith.evaluation.votes import Contest
from tunesmith.run.blind import Ballot, server_of
from tunesmith.run.compare import Compared
from tunesmith.run.compare_page import write_page
from tunesmith.run.retain import retain

NAMES = ("smollm2-135m-instruct", "runs/a-run-with-a-rather-long-name-of-a-folder/and-one-below-it")
LONG = "https://example.org/" + "a-part-of-an-address/" * 12
VOTES = 5


@contextmanager
def made(folder: Path) -> Iterator[str]:
    """`study/plain/report.html`, `study/retain.html` and `compared.html` in `folder`; gives the address of the ballot.

    Votes are kept in `votes.jsonl` there. A study of two ways of twelve steps; a comparison of 30 items.
    """
    _study(folder)
    left, right = _answers()
    compared = {"held-out.jsonl": (left, right)}
    metrics = ("exact_match", "loss")
    write_page(
        folder / "compared.html", Compared(NAMES, compared, compare_tasks(compared, {"held-out.jsonl": metrics}))
    )
    server = server_of(Ballot(Contest(NAMES, left[:VOTES], right[:VOTES]), folder / "votes.jsonl"), "ballot", 0)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}/ballot"
    finally:
        server.shutdown()
        server.server_close()


def _study(folder: Path) -> None:
    model = tiny_model(folder / "model")
    data, held = chat_file(folder / "train.jsonl"), chat_file(folder / "held.jsonl", start=100, count=10)
    text = folder / "general.txt"
    text.write_text("some words that are general. " * 400)
    settings = [
        f"model={model}", f"data.validation={held}", "training.steps=12", "training.learning_rate=0.01",
        "training.validation.every=3", "training.validation.metrics=[exact_match]", f"retention.text={text}",
        "retention.share=1",
    ]  # fmt: skip
    retain(str(data), settings, out=folder / "study", ways=("low-rate", "interpolate"), say=lambda _: None)


def _answers() -> tuple[list[Item], list[Item]]:
    """Two sides of 30 items: one right, one wrong, or both; some with words that no line can hold."""
    left, right = [], []
    for i in range(30):
        prompt = f"Question {i}: what stands at {LONG if i % 3 == 0 else 'the end'}?"
        first, second = "yes" if i % 2 else f"no, {LONG}", "yes" if i % 5 == 0 else f"because {i}"
        left.append(Item(first, "yes", nats=2.0, targets=3, prompt=prompt))
        right.append(Item(second, "yes", nats=1.5, targets=3, prompt=prompt))
    return left, right
