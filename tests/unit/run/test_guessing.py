"""A metric that nobody asked for: guessed where answers are labels, said aloud, and deciding nothing."""

import json
from pathlib import Path
from typing import Any

import pytest
from tiny_model import chat_file

from tunesmith.recipe import load_recipe
from tunesmith.run.train import resume, train

pytestmark = pytest.mark.whole


def trained(folder: Path, place: Path, data: Path, *more: str) -> tuple[dict[str, Any], list[str], Path]:
    """The report of a run of two steps on the data with a share held back, what it said, and its folder."""
    said: list[str] = []
    settings = {
        "model": folder, "run": place / "run", "training.steps": 2, "retention.text": "off", "data.validation": 0.3,
    }  # fmt: skip
    recipe = load_recipe(str(data), [*(f"{name}={value}" for name, value in settings.items()), *more])
    result = train(recipe, say=said.append)
    return dict(result.report), said, result.folder


def test_labels_are_recognised_and_their_accuracy_measured_beside_the_loss(folder: Path, tmp_path: Path) -> None:
    data = chat_file(tmp_path / "labels.jsonl", count=60)
    report, said, run = trained(folder, tmp_path, data, "data.test=0.1")
    (told,) = [line for line in said if "training.validation.metrics" in line]
    assert "guessed: the references are 3 labels that come back" in told
    assert report["metric"] == "validation_loss"
    assert report["task"].keys() == {"task_accuracy"}
    assert report["gains"]["numbers"].keys() == {"test_loss", "test_accuracy", "task_accuracy"}
    assert json.loads((run / "identity.json").read_text())["settings"]["training.validation.answers"] == "64"
    (run / "report.json").unlink()
    assert resume(run, say=said.append).report["task"] == report["task"]


def test_what_chooses_the_best_and_what_is_trained_is_the_same_without_it(folder: Path, tmp_path: Path) -> None:
    data = chat_file(tmp_path / "labels.jsonl", count=60)
    guessed, _, run = trained(folder, tmp_path / "a", data)
    plain, _, other = trained(folder, tmp_path / "b", data, "training.validation.metrics=[]")
    assert plain["task"] == {}
    assert guessed["best_step"] == plain["best_step"]
    assert guessed["validation_loss"] == plain["validation_loss"]
    name = "final/adapter_model.safetensors"
    assert (run / name).read_bytes() == (other / name).read_bytes()


def test_too_few_questions_are_not_asked(folder: Path, tmp_path: Path) -> None:
    held = chat_file(tmp_path / "held.jsonl", start=100, count=7)
    data = chat_file(tmp_path / "labels.jsonl", count=60)
    report, _, _ = trained(folder, tmp_path, data, f"data.validation={held}")
    assert report["task"] == {}


@pytest.mark.parametrize("answers", ["free", "long"])
def test_other_answers_cost_no_questions(folder: Path, tmp_path: Path, answers: str) -> None:
    rows = [{"prompt": f"p{i}", "completion": f"{i} words" if answers == "free" else "ab" * (40 + i % 2)}
            for i in range(40)]  # fmt: skip
    data = tmp_path / "data.jsonl"
    data.write_text("".join(json.dumps(row) + "\n" for row in rows))
    report, said, _ = trained(folder, tmp_path, data)
    assert report["task"] == {}
    assert not any("training.validation.metrics" in line for line in said)
