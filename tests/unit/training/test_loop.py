"""What the loop refuses, and what a step counts."""

import json
import math
import time
from pathlib import Path
from typing import Any

import pytest
from tiny_model import chat_file, tiny_model

from tunesmith.errors import TrainingError
from tunesmith.recipe import load_recipe
from tunesmith.run.train import train
from tunesmith.training.saving import Saver


def quiet(text: str) -> None:
    """Say nothing."""


@pytest.fixture(scope="module")
def arguments(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    folder = tmp_path_factory.mktemp("tiny")
    data = chat_file(folder / "train.jsonl", count=12)
    return [f"model={tiny_model(folder / 'model')}", f"data.train={data}", "data.validation=0", "data.test=0"]


def test_a_loss_that_is_not_finite_stops_before_the_update_and_names_examples(
    arguments: list[str], tmp_path: Path
) -> None:
    wild = ["method.kind=full", "training.optimizer={kind: sgd}", "training.learning_rate=1e30", "training.clip=null"]
    with pytest.raises(TrainingError, match=r"step \d+: the (loss|gradient) is not finite.*train\.jsonl:\d+") as caught:
        train(load_recipe(None, [*arguments, *wild, f"run={tmp_path / 'run'}"]), say=quiet)
    step = int(str(caught.value).split(":")[0].removeprefix("step "))
    journal = (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()
    assert len(journal) == step - 1


def test_every_step_counts_its_tokens_and_the_last_batch_of_an_epoch_may_be_smaller(
    arguments: list[str], tmp_path: Path
) -> None:
    settings = ["training.batch_size=5", "training.epochs=2", "training.schedule=constant", "training.warmup=0"]
    train(load_recipe(None, [*arguments, *settings, f"run={tmp_path / 'run'}"]), say=quiet)
    journal = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    assert [entry["epoch"] for entry in journal] == [1, 1, 1, 2, 2, 2]
    epochs = [sum(e["tokens"] for e in journal if e["epoch"] == n) for n in (1, 2)]
    assert epochs[0] == epochs[1]
    assert all(e["supervised_tokens"] < e["computed_tokens"] < e["tokens"] for e in journal)
    assert {e["learning_rate"] for e in journal} == {2e-4}


def test_training_brings_the_loss_down(arguments: list[str], tmp_path: Path) -> None:
    settings = ["method.kind=full", "training.learning_rate=0.01", "training.steps=30", "training.batch_size=6"]
    train(load_recipe(None, [*arguments, *settings, f"run={tmp_path / 'run'}"]), say=quiet)
    losses = [json.loads(line)["loss"] for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    assert losses[-1] < losses[0] / 2


def numbered(
    values: list[float], arguments: list[str], place: Path, monkeypatch: pytest.MonkeyPatch, *more: str
) -> tuple[dict[str, Any], list[str]]:
    """The report of a run whose validations measured these losses, the first before training, and what it warned of."""
    numbers = iter(values)
    monkeypatch.setattr(
        "tunesmith.run.measuring.Validation.__call__",
        lambda self: {"validation_loss": next(numbers), "validation_accuracy": 0.0},
    )
    held = chat_file(place / "held.jsonl", start=100, count=4)
    settings = [f"data.validation={held}", "training.validation.every=1", "retention.text=off", f"run={place / 'run'}"]
    result = train(load_recipe(None, [*arguments, *settings, *more]), say=quiet)
    log = (place / "run" / "console.log").read_text().splitlines()
    return dict(result.report), [line for line in log if "warning: step" in line]


def test_a_validation_that_is_no_number_is_never_the_best(
    arguments: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    values = [3.0, math.nan, math.inf, 2.0, 2.5]
    report, warned = numbered(values, arguments, tmp_path, monkeypatch, "training.steps=4")
    assert report["best_step"] == 3
    assert [line.partition("warning: ")[2][:35] for line in warned] == [
        "step 1: validation_loss is nan, so ",
        "step 2: validation_loss is inf, so ",
    ]


def test_a_validation_that_is_no_number_counts_as_not_better(
    arguments: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = ["training.steps=4", "training.validation.patience=2"]
    report, _ = numbered([3.0, math.nan, math.nan], arguments, tmp_path, monkeypatch, *asked)
    assert (report["steps"], report["ended"], report["best_step"]) == (2, "patience", 0)
    assert not (tmp_path / "run" / "best").exists()


def test_the_seconds_of_a_step_leave_out_what_it_waited_for_a_save(
    arguments: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    late, clock, release = 0.0, time.perf_counter, Saver.release

    def slow(saver: Saver) -> None:
        nonlocal late
        late += 1000
        release(saver)

    monkeypatch.setattr(time, "perf_counter", lambda: clock() + late)
    monkeypatch.setattr(Saver, "release", slow)
    train(load_recipe(None, [*arguments, "training.steps=3", f"run={tmp_path / 'run'}"]), say=quiet)
    journal = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    assert late == 3000
    assert all(0 < entry["seconds"] < 900 for entry in journal)
