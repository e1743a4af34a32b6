"""Benchmarks in a run's retention: the base and the tuned model on the same items."""

from pathlib import Path

import pytest
from tiny_model import chat_file

from tunesmith.errors import UsageError
from tunesmith.recipe import load_recipe
from tunesmith.run.page import pair
from tunesmith.run.train import train

TASK = """name: fruit
version: 1
says: the right fruit
data: fruit.jsonl
prompt: "Q: {{ q }}"
options: [apple, pear]
answer: "{{ a }}"
"""


def quiet(text: str) -> None:
    """Say nothing."""


@pytest.mark.parametrize("method", ["lora", "full"])
def test_a_run_asks_base_and_tuned_the_same_items(folder: Path, tmp_path: Path, method: str) -> None:
    (tmp_path / "fruit.yaml").write_text(TASK)
    rows = [f'{{"q": "which {i}?", "a": "{"apple" if i % 2 else "pear"}"}}' for i in range(8)]
    (tmp_path / "fruit.jsonl").write_text("\n".join(rows))
    data, held = chat_file(tmp_path / "train.jsonl"), chat_file(tmp_path / "held.jsonl", start=100, count=6)
    text = tmp_path / "text.txt"
    text.write_text("some words. " * 200)
    task = str(tmp_path / "fruit.yaml")
    settings = [
        f"model={folder}", f"run={tmp_path / 'run'}", f"data.validation={held}", "training.steps=2",
        f"method={{kind: {method}}}", f"retention.text={text}", f"retention.tasks=[{task}]", "retention.items=6",
    ]  # fmt: skip
    report = dict(train(load_recipe(str(data), settings), say=quiet).report)
    one = report["retention"]["tasks"][task]
    assert (one["metric"], one["items"]) == ("choice", 6)
    assert one["difference"] == pytest.approx(one["right"] - one["left"])
    assert any("fruit.yaml" in line for line in pair(report)[1])


def test_a_misspelled_task_is_told_before_the_run(folder: Path, tmp_path: Path) -> None:
    data = chat_file(tmp_path / "train.jsonl")
    with pytest.raises(UsageError, match="no task 'mmlv'"):
        train(load_recipe(str(data), [f"model={folder}", "retention.tasks=[mmlv]"]), say=quiet)
