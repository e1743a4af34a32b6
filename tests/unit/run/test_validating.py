import json
from pathlib import Path
from typing import Any

import pytest
from tiny_model import chat_file

from tunesmith.errors import RecipeError, UsageError
from tunesmith.recipe import load_recipe
from tunesmith.run.train import train
from tunesmith.run.validating import higher_is_better

pytestmark = pytest.mark.whole


def trained(folder: Path, place: Path, *more: str) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """The journal and the report of a run of four steps with validation at every second."""
    place.mkdir(exist_ok=True)
    data, held = chat_file(place / "train.jsonl"), chat_file(place / "held.jsonl", start=100, count=6)
    settings = {
        "model": folder, "run": place / "run", "data.validation": held, "training.steps": 4, "retention.text": "off",
        "training.validation.every": 2, "training.learning_rate": 0.01,
    }  # fmt: skip
    recipe = load_recipe(str(data), [*(f"{k}={v}" for k, v in settings.items()), *more])
    result = train(recipe, say=lambda _: None)
    lines = (result.folder / "metrics.jsonl").read_text().splitlines()
    return [json.loads(line) for line in lines], dict(result.report)


def test_task_metrics_are_measured_at_every_validation_and_do_not_depend_on_batches(
    folder: Path, tmp_path: Path
) -> None:
    asked = ["training.validation.metrics=[exact_match, loss]", "training.validation.metric=token_f1"]
    journal, report = trained(folder, tmp_path / "a", *asked)
    other, _ = trained(folder, tmp_path / "b", *asked, "training.micro_batch_tokens=64", "training.sharing=false")
    names = ("task_exact_match", "task_loss", "task_token_f1")
    measured = [entry for entry in journal if "task_loss" in entry]
    assert [entry["step"] for entry in measured] == [2, 4]
    assert measured[0]["task_loss"] == pytest.approx(measured[0]["validation_loss"], rel=1e-5)
    for here, there in zip(measured, (entry for entry in other if "task_loss" in entry), strict=True):
        assert [here[name] for name in names] == pytest.approx([there[name] for name in names], rel=1e-4)
    assert report["task"].keys() == set(names)


def test_a_metric_that_nobody_knows_is_named_before_anything_is_read(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match="task_exact_match"):
        trained(folder, tmp_path, "training.validation.metric=exactness")
    with pytest.raises(UsageError, match="no metric 'exactness'"):
        trained(folder, tmp_path, "training.validation.metrics=[exactness]")


def test_less_is_better_for_losses_and_more_for_scores() -> None:
    assert [higher_is_better(n) for n in ("validation_loss", "task_perplexity")] == [False, False]
    assert [higher_is_better(n) for n in ("validation_accuracy", "task_exact_match")] == [True, True]
