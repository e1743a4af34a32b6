"""What a run gained is measured on test data that nothing was chosen by, in pairs, and the same after a kill."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import load_file
from tiny_model import chat_file

from tunesmith.recipe import load_recipe
from tunesmith.run import gains as module
from tunesmith.run.evaluate import evaluate
from tunesmith.run.page import pair
from tunesmith.run.train import resume, train
from tunesmith.training.progress import Progress

pytestmark = pytest.mark.whole
ASKED = ["training.validation.metrics=[exact_match, perplexity]"]


def quiet(text: str) -> None:
    """Say nothing."""


def settings(model: Path, place: Path, *more: str) -> list[str]:
    """A run of six steps with validation at every second, a test file of 12 and no look at what is lost."""
    place.mkdir(exist_ok=True)
    data, held = chat_file(place / "train.jsonl"), chat_file(place / "held.jsonl", start=100, count=6)
    test = chat_file(place / "test.jsonl", start=200, count=12)
    said = {
        "data.train": data, "model": model, "run": place / "run", "data.validation": held, "data.test": test,
        "training.steps": 6, "training.validation.every": 2, "training.learning_rate": 0.01, "retention.text": "off",
    }  # fmt: skip
    return [*(f"{name}={value}" for name, value in said.items()), *more]


def trained(model: Path, place: Path, *more: str, say: Callable[[str], object] = quiet) -> tuple[Path, dict[str, Any]]:
    """Such a run and its report."""
    result = train(load_recipe(None, settings(model, place, *more)), say=say)
    return result.folder, dict(result.report)


def timeless(found: dict[str, Any]) -> dict[str, Any]:
    """What was gained, without how long that took."""
    return {name: value for name, value in found.items() if name != "seconds"}


def test_base_and_chosen_model_are_measured_on_the_test_set_as_evaluate_measures_them(
    folder: Path, tmp_path: Path
) -> None:
    said: list[str] = []
    run, report = trained(folder, tmp_path, *ASKED, say=said.append)
    found = report["gains"]
    assert (found["on"], found["of"], found["examples"], found["questions"]) == ("test", 12, 12, 12)
    assert "test: before training and after, loss on all 12 test examples, answers to 12" in said
    names = {"exact_match": "task_exact_match", "perplexity": "task_perplexity", "loss": "test_loss"}
    for model, side in ((str(folder), "before"), (str(run), "after")):
        scores = evaluate(model, str(tmp_path / "test.jsonl"), metrics=tuple(names), say=quiet).scores["test"]
        for name, told in names.items():
            score = scores[name].as_dict()
            assert found["numbers"][told][side] == pytest.approx(score, rel=1e-4), name
    loss = found["numbers"]["test_loss"]
    assert loss["low"] < loss["difference"] < loss["high"] < 0
    assert loss["better"] == "tuned"
    assert loss["p"] < 0.05
    first, *others = pair(report)[0]
    assert first.startswith(f"test loss {loss['before']['value']:.4f} → {loss['after']['value']:.4f} (-")
    assert first.endswith("12 examples on the test set)")
    assert sum("where the model was chosen" in line for line in others) == 3


def test_a_killed_run_reports_the_same_gain_and_asks_the_base_once(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, whole = trained(folder, tmp_path / "whole", *ASKED)

    class Killed(BaseException):
        pass

    real = Progress.step

    def deadly(self: Progress, entry: Any) -> None:
        real(self, entry)
        if entry["step"] == 5:
            raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(Progress, "step", deadly)
        with pytest.raises(Killed):
            trained(folder, tmp_path / "broken", *ASKED)
    run = tmp_path / "broken" / "run"
    kept = (run / "gains.json").read_bytes()
    found = resume(run, say=quiet).report
    assert timeless(found["gains"]) == timeless(whole["gains"])
    assert (run / "gains.json").read_bytes() == kept
    (run / "report.json").unlink()
    (run / "gains.json").write_text("{}")  # gone, and the run has ended: the base is there until training goes on
    again = resume(run, say=quiet).report
    assert timeless(again["gains"]) == timeless(whole["gains"])
    assert again["samples"] == whole["samples"]


@pytest.mark.parametrize("kind", ["lora", "full"])
def test_measuring_the_test_set_does_not_change_a_bit_of_the_weights(folder: Path, tmp_path: Path, kind: str) -> None:
    method = [f"method.kind={kind}"] + (["method.dropout=0.1"] if kind == "lora" else [])
    measured, _ = trained(folder, tmp_path / "a", *ASKED, *method)
    alone, report = trained(folder, tmp_path / "b", "data.test=0", *method)
    assert report["gains"] is None
    name = "adapter_model.safetensors" if kind == "lora" else "model.safetensors"
    left, right = (load_file(run / "final" / name) for run in (measured, alone))
    assert all(left[key].equal(right[key]) for key in left)


def test_without_a_test_set_the_validation_questions_are_compared_and_that_is_said(
    folder: Path, tmp_path: Path
) -> None:
    _, report = trained(folder, tmp_path, *ASKED, "data.test=0")
    found = report["gains"]
    assert found["on"] == "validation"
    assert set(found["numbers"]) == {"task_exact_match", "task_perplexity"}
    of = found["numbers"]["task_perplexity"]
    assert of["before"]["value"] == pytest.approx(report["task"]["task_perplexity"]["before"])
    assert of["after"]["value"] == pytest.approx(report["task"]["task_perplexity"]["best"])
    lines = pair(report)[0]
    assert lines[0].startswith("validation loss")
    assert lines[2].endswith("6 questions of the validation set, where the model was chosen)")


def test_a_run_without_validation_is_measured_on_its_test_set(folder: Path, tmp_path: Path) -> None:
    run, report = trained(folder, tmp_path, "data.validation=0", "training.validation.metrics=[]")
    assert set(report["gains"]["numbers"]) == {"test_loss", "test_accuracy"}
    assert "test loss" in (run / "report.html").read_text()
    assert "gained: test loss" in (run / "console.log").read_text()


def test_a_large_test_set_is_drawn_from_and_not_read_from_its_beginning(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "LEAST", 1)
    monkeypatch.setattr(module, "FEWEST", 3)
    monkeypatch.setattr(module, "SHARE", 0.01)
    said: list[str] = []
    _, report = trained(folder, tmp_path / "a", *ASKED, "training.validation.answers=5", say=said.append)
    found = report["gains"]
    assert found["examples"] == 3
    assert found["questions"] == 5
    assert f"loss on {found['examples']} of 12 test examples, answers to 5" in "\n".join(said)
    _, other = trained(folder, tmp_path / "b", *ASKED, "training.validation.answers=5", "seed=7")
    assert other["gains"]["numbers"]["test_loss"]["before"] == found["numbers"]["test_loss"]["before"]


def test_a_number_that_cannot_be_told_is_left_out_and_stops_nothing(folder: Path, tmp_path: Path) -> None:
    held = tmp_path / "fields.jsonl"
    held.write_text('{"prompt": "ab", "completion": "{\\"a\\": 1}"}\n' * 2)
    run, report = trained(folder, tmp_path, "training.validation.metrics=[json_fields]", f"data.validation={held}")
    assert set(report["gains"]["numbers"]) == {"test_loss", "test_accuracy"}
    assert json.loads((run / "report.json").read_text())["gains"] == report["gains"]
