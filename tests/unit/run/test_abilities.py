"""Benchmarks in a run's retention: the base and the tuned model on the same items."""

from pathlib import Path

import pytest
from tiny_model import chat_file

from tunesmith.errors import UsageError
from tunesmith.evaluation import benchmark
from tunesmith.evaluation.item import Item
from tunesmith.recipe import load_recipe
from tunesmith.run.abilities import abilities
from tunesmith.run.opened import open_model
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
    assert one["could_show"] >= 1.0, "of six items all have to differ"
    assert one["difference"] == pytest.approx(one["right"] - one["left"])
    assert any("fruit.yaml" in line for line in pair(report)[1])


def test_the_ps_of_several_benchmarks_are_corrected_together(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened = open_model(str(folder), say=quiet)
    tasks = []
    for name in ("one", "two"):
        (tmp_path / f"{name}.yaml").write_text(TASK)
        tasks.append(str(tmp_path / f"{name}.yaml"))
    (tmp_path / "fruit.jsonl").write_text('{"q": "which?", "a": "apple"}\n' * 6)
    turns = iter([True, False, True, False])  # the tuned model is asked first, and knows it all
    monkeypatch.setattr(benchmark, "items", lambda *_: _six(next(turns)))
    found = abilities(opened.model, opened.model, opened.encoder, tuple(tasks), 6)
    assert [one["difference"] for one in found.values()] == [1.0, 1.0]
    assert [one["p"] for one in found.values()] == [0.0625, 0.0625]


def _six(right: bool) -> list[Item]:
    return [
        Item("apple" if right else "pear", "apple", prompt=str(i), options={"apple": -1, "pear": -2}) for i in range(6)
    ]


def test_a_misspelled_task_is_told_before_the_run(folder: Path, tmp_path: Path) -> None:
    data = chat_file(tmp_path / "train.jsonl")
    with pytest.raises(UsageError, match="no task 'mmlv'"):
        train(load_recipe(str(data), [f"model={folder}", "retention.tasks=[mmlv]"]), say=quiet)
