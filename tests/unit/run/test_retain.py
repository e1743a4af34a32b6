"""A study of ways to keep what a model can: its points, the front, and the one to take."""

import json
from pathlib import Path

import pytest
from tiny_model import chat_file

from tunesmith.errors import CheckpointError, UsageError
from tunesmith.recipe import load_recipe
from tunesmith.run.pareto import Point, front, gain, page, recommended, table
from tunesmith.run.retain import WAYS, _recipe, retain


def made(value: float, lost: float) -> Point:
    return Point(0.2, value, lost, lost - 0.01, lost + 0.01, 1.0, "runs/x")


POINTS = {
    "plain": made(0.80, 0.30), "kept": made(0.795, 0.10), "weak": made(0.50, 0.01), "bad": made(0.70, 0.20),
}  # fmt: skip


def test_the_front_holds_what_nothing_beats_in_both() -> None:
    assert front(POINTS, higher=True) == ["weak", "kept", "plain"]
    losses = {name: made(1 - p.value, p.lost) for name, p in POINTS.items()}
    assert front(losses, higher=False) == ["weak", "kept", "plain"]


def test_recommended_is_what_lost_least_of_those_with_nearly_the_best_gain() -> None:
    assert recommended(POINTS, higher=True) == "kept"
    assert recommended({"plain": made(0.8, 0.3), "twin": made(0.8, 0.3)}, higher=True) == "plain"


def test_of_a_loss_less_is_a_gain() -> None:
    assert gain(made(0.15, 0.0), higher=False) == pytest.approx(0.05)


def test_the_page_and_the_table_name_every_way_and_escape_it() -> None:
    points = {"<b>": made(0.8, 0.1), "plain": made(0.7, 0.2)}
    text = page("task_accuracy", points, "<b>", higher=True)
    assert "<b>" not in text
    assert text.count("&lt;b&gt;") == 2
    assert "1 &lt;b&gt;" in text
    assert "→ <b>" in table("task_accuracy", points, "<b>", higher=True)


@pytest.mark.parametrize("way", WAYS)
def test_every_way_is_a_recipe(way: str, tmp_path: Path) -> None:
    data = chat_file(tmp_path / "train.jsonl")
    recipe = _recipe(str(data), ["training.learning_rate=1e-3"], way, tmp_path).recipe
    assert recipe.run == str(tmp_path / way)
    plain = load_recipe(str(data), ["training.learning_rate=1e-3"]).recipe
    same = {"run": None, "name": None}
    assert (recipe.model_copy(update=same) == plain.model_copy(update=same)) == (way == "plain")
    if way == "low-rate":
        assert recipe.training.learning_rate == pytest.approx(2e-4)


def test_an_unknown_way_is_refused_before_anything_runs(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"no way 'prayer'.*replay"):
        retain("x.jsonl", out=tmp_path, ways=["prayer"])


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        (["retention.share=0.001"], r"too short.*retention\.share=0\.001 .*fewer than 512 .*up to 1.*steps"),
        (["retention.share=0.5"], r"kind=lora is too short"),
        (["data.validation=0"], r"no validation data.*Set data\.validation"),
        (["retention.text=off"], r"retention\.text is off.*auto or to a file"),
    ],
)
def test_a_study_that_could_not_say_what_was_lost_is_refused_before_anything_runs(
    settings: list[str], told: str, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TUNESMITH_HOME", str(tmp_path / "home"))
    monkeypatch.setattr("tunesmith.run.retain.train", None)
    data, held = chat_file(tmp_path / "train.jsonl"), chat_file(tmp_path / "held.jsonl", start=100, count=6)
    text = tmp_path / "general.txt"
    text.write_text("some words that are general. " * 100)
    plain = [
        f"model={folder}",
        "method.kind=full",
        f"data.validation={held}",
        "training.steps=6",
        f"retention.text={text}",
    ]
    with pytest.raises(UsageError, match=told):
        retain(str(data), [*plain, *settings], out=tmp_path / "study", ways=["lora"])
    assert not (tmp_path / "study").exists()


def test_a_study_trains_each_way_once_and_recommends_one(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TUNESMITH_HOME", str(tmp_path / "home"))
    data, held = chat_file(tmp_path / "train.jsonl"), chat_file(tmp_path / "held.jsonl", start=100, count=6)
    text = tmp_path / "general.txt"
    text.write_text("some words that are general. " * 100)
    settings = [
        f"model={folder}", f"data.validation={held}", "training.steps=6", "training.learning_rate=0.01",
        f"retention.text={text}", "retention.share=1",
    ]  # fmt: skip
    said: list[str] = []
    study = retain(str(data), settings, out=tmp_path / "study", ways=["interpolate"], say=said.append)
    assert list(study.points) == ["plain", "interpolate"]
    assert study.recommended in study.points
    assert json.loads((tmp_path / "study" / "retain.json").read_text())["recommended"] == study.recommended
    assert "<svg" in (tmp_path / "study" / "retain.html").read_text()
    said.clear()
    again = retain(str(data), settings, out=tmp_path / "study", ways=["interpolate"], say=said.append)
    assert again == study
    assert not any(line.startswith("model: ") for line in said)
    with pytest.raises(CheckpointError, match=r"training\.steps"):
        retain(str(data), [*settings, "training.steps=7"], out=tmp_path / "study", say=said.append)
