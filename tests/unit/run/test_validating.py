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


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        (
            "metrics=[choice]",
            r"training\.validation\.metrics: choice: the items lack .* 6 of 6 lack options .*--labels",
        ),
        ("metrics=[choice_normalised]", "choice_normalised: the items lack .* options to choose between"),
        ("metric=task_instructions_all", r"instructions_all: .* 6 of 6 lack IFEval's instructions .* number 1: '5'"),
        ("metrics=[exact_match, json_fields]", "json_fields: .* 6 of 6 lack a reference that is a JSON object"),
        ("metric=pass_at_10", "pass_at_10: .* needs 10 answers to each question, and one has 1"),
    ],
)
def test_a_metric_that_the_validation_questions_do_not_suit_is_refused_before_a_model_is_loaded(
    folder: Path, tmp_path: Path, asked: str, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tunesmith.run.prepare.load_model", lambda *_, **__: pytest.fail("a model was loaded"))
    with pytest.raises(RecipeError, match=message):
        trained(folder, tmp_path, f"training.validation.{asked}")
    assert not (tmp_path / "run").exists()


def test_metrics_and_patience_without_anything_to_ask_are_refused(folder: Path, tmp_path: Path) -> None:
    for asked in ("metrics=[exact_match]", "patience=2"):
        with pytest.raises(RecipeError, match=r"needs validation data, and there are none\. Set data\.validation"):
            trained(folder, tmp_path, f"training.validation.{asked}", "data.validation=0")
    text = tmp_path / "held.txt"
    text.write_text("abc " * 300)
    with pytest.raises(RecipeError, match=r"no question to answer\. Choose the best by validation_loss"):
        trained(folder, tmp_path, "training.validation.metrics=[exact_match]", f"data.validation={text}")


def test_less_is_better_for_losses_and_more_for_scores() -> None:
    assert [higher_is_better(n) for n in ("validation_loss", "task_perplexity")] == [False, False]
    assert [higher_is_better(n) for n in ("validation_accuracy", "task_exact_match")] == [True, True]
