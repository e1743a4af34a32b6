"""Ways to keep what the base can: replay, what is drawn to the base, limits, and going back after training."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from tiny_model import chat_file
from torch import nn

from tunesmith.data.example import Origin
from tunesmith.errors import RecipeError
from tunesmith.evaluation.retention import as_text
from tunesmith.recipe import load_recipe
from tunesmith.run.folder import weights_of
from tunesmith.run.keeping import go_back
from tunesmith.run.replaying import FIRST_PIECE, Mixed
from tunesmith.run.suspects import suspects
from tunesmith.run.train import train
from tunesmith.training.averaging import Between

pytestmark = pytest.mark.whole


@pytest.fixture(autouse=True)
def _home(short_texts: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What base models write is kept in a folder of the test."""
    monkeypatch.setenv("TUNESMITH_HOME", str(tmp_path / "home"))
    monkeypatch.setattr("tunesmith.run.replaying.POOL", 6)
    monkeypatch.setattr("tunesmith.run.general.PIECE", 200)
    monkeypatch.setattr("tunesmith.run.retention.COMPARED", 200)


def quiet(text: str) -> None:
    """Say nothing."""


def trained(model: Path, place: Path, *more: str) -> tuple[Path, dict[str, Any], list[dict[str, Any]]]:
    """A run of 12 steps with validation: its folder, report and journal."""
    place.mkdir(exist_ok=True)
    data, held = chat_file(place / "train.jsonl"), chat_file(place / "held.jsonl", start=100, count=6)
    settings = {
        "model": model, "run": place / "run", "data.validation": held, "training.steps": 12,
        "training.validation.every": 4, "training.learning_rate": 0.01, "retention.share": 1.0,
    }  # fmt: skip
    result = train(load_recipe(str(data), [*(f"{k}={v}" for k, v in settings.items()), *more]), say=quiet)
    journal = [json.loads(line) for line in (result.folder / "metrics.jsonl").read_text().splitlines()]
    return result.folder, dict(result.report), journal


def test_a_share_of_examples_and_of_the_loss_is_replayed(folder: Path, tmp_path: Path) -> None:
    text = tmp_path / "general.txt"
    text.write_text("some words that are general. " * 100)
    run, report, _ = trained(folder, tmp_path / "a", "keeping.replay=0.25", f"keeping.replay_text={text}")
    assert report["data"]["train"] == 24
    origins = json.loads((run / "origins.json").read_text())
    assert len(origins["places"]) == 32
    assert str(text) in origins["files"]


def test_replayed_text_is_the_bases_own_where_no_file_is_named_and_not_what_is_measured_on(
    folder: Path, tmp_path: Path
) -> None:
    run, _, _ = trained(folder, tmp_path / "a", "keeping.replay=0.25")
    pieces = {int(path.name) for path in (tmp_path / "home" / "general").glob("*/[0-9]*")}
    assert {piece >= FIRST_PIECE for piece in pieces} == {True, False}
    assert all(one.line for one in suspects(run).highest)


def test_mixed_examples_are_those_of_the_task_followed_by_the_replayed() -> None:
    task, replayed = ([as_text([1, 2, n]) for n in part] for part in ((3, 4), (5,)))
    mixed = Mixed(task, replayed)
    assert [int(e.ids[2]) for e in mixed] == [3, 4, 5]
    assert [int(e.ids[2]) for e in mixed[1:]] == [4, 5]
    assert int(mixed[-1].ids[2]) == 5
    assert mixed[0].origin == Origin("what the base model writes", 0)


@pytest.mark.parametrize("method", ["lora", "full"])
def test_what_is_drawn_to_the_base_ends_nearer_to_it(folder: Path, tmp_path: Path, method: str) -> None:
    settings = [f"method.kind={method}", "training.optimizer={kind: sgd, momentum: 0}", "retention.text=off"]
    _, _, plain = trained(folder, tmp_path / "plain", *settings)
    ways = ["keeping.kl=20", "keeping.l2_sp=20", "keeping.ewc=1"]
    _, _, kept = trained(folder, tmp_path / "kept", *settings, *ways)
    assert (kept[0]["kl"], kept[0]["penalty"]) == pytest.approx((0.0, 0.0), abs=1e-6)
    assert min(kept[-1]["kl"], kept[-1]["penalty"]) > 0
    assert kept[-1]["validation_loss"] > plain[-1]["validation_loss"]


def test_a_validation_that_lost_more_than_allowed_is_not_the_best(folder: Path, tmp_path: Path) -> None:
    run, report, journal = trained(folder, tmp_path / "a", "keeping.most_lost=0", "method.kind=full")
    within = [entry["step"] for entry in journal if entry.get("retained") == 1]
    assert report["best_step"] in (within or [0])
    assert all("retained" in entry for entry in journal if "validation_loss" in entry)
    assert weights_of(run)


@pytest.mark.parametrize(("method", "how"), [("lora", "layers"), ("full", "whole")])
def test_going_back_after_training_keeps_weights_of_its_own(
    folder: Path, tmp_path: Path, how: str, method: str
) -> None:
    run, report, _ = trained(
        folder, tmp_path / "a", f"keeping.interpolate={how}", "keeping.cost=0.9", f"method.kind={method}"
    )
    chosen, tried = report["interpolation"]["chosen"], report["interpolation"]["tried"]
    assert chosen in tried
    assert min(chosen["shares"]) < 1
    assert chosen["general"] == min(p["general"] for p in tried if p["value"] <= _limit(report))
    assert weights_of(run) == (run / "kept", f"the weights mixed with the base's of {run}")


def _limit(report: dict[str, Any]) -> float:
    before, tuned = report["validation_loss"]["before"], report["interpolation"]["tried"][0]["value"]
    return float(tuned + 0.9 * (before - tuned)) + 1e-9


def test_the_least_forgetful_mixture_within_the_cost_is_chosen() -> None:
    parameter = nn.Parameter(torch.tensor([1.0]))
    between = Between([("layers.0.weight", parameter)], {"layers.0.weight": torch.tensor([0.0])})

    def measure() -> tuple[float, float | None]:
        share = float(parameter.detach())
        return min(1.0, 0.2 + 1.2 * share), share  # the task needs two thirds of the way

    found = go_back(between, measure, before=0.2, higher=True, cost=0.02, layers=False)
    assert found.chosen.shares[0] == 0.7
    assert float(parameter.detach()) == pytest.approx(0.7)
    dear = go_back(
        Between([("layers.0.weight", nn.Parameter(torch.tensor([1.0])))], {"layers.0.weight": torch.tensor([0.0])}),
        lambda: (1.0, None), before=0.0, higher=True, cost=0.0, layers=False,
    )  # fmt: skip
    assert dear.chosen.shares[0] == 0.2


@pytest.mark.parametrize("setting", ["keeping.interpolate=whole", "keeping.most_lost=0.1"])
def test_what_is_chosen_on_validation_data_needs_them(folder: Path, tmp_path: Path, setting: str) -> None:
    with pytest.raises(RecipeError, match=r"keeping\.\w+: is chosen on validation data"):
        trained(folder, tmp_path / "a", setting, "data.validation=0", "data.test=0")


def test_what_is_not_asked_for_changes_nothing(folder: Path, tmp_path: Path) -> None:
    run, _, journal = trained(folder, tmp_path / "a")
    assert not {"kl", "penalty", "retained"} & journal[-1].keys()
    assert not (run / "kept").exists()
