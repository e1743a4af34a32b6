"""A study of ways to keep what a model can: its points, the front, and the one to take."""

import json
from pathlib import Path

import numpy as np
import pytest
from tiny_model import chat_file

from tunesmith.errors import CheckpointError, UsageError
from tunesmith.evaluation.compare import Comparison
from tunesmith.recipe import load_recipe
from tunesmith.run.pareto import Advice, Point, Study, advise, front, gain
from tunesmith.run.retain import NEVER_WITHIN, WAYS, _said, point, retain
from tunesmith.run.retain_page import page, table


def made(value: float, lost: float) -> Point:
    return Point(0.2, value, lost, lost - 0.01, lost + 0.01, 1.0, "runs/x")


POINTS = {
    "plain": made(0.80, 0.30), "kept": made(0.795, 0.10), "weak": made(0.50, 0.01), "bad": made(0.70, 0.20),
}  # fmt: skip


def test_the_front_holds_what_nothing_beats_in_both() -> None:
    assert front(POINTS, higher=True) == ["weak", "kept", "plain"]
    losses = {name: made(1 - p.value, p.lost) for name, p in POINTS.items()}
    assert front(losses, higher=False) == ["weak", "kept", "plain"]


def against(better: str | None, could_show: float | None, items: int = 400) -> Comparison:
    """The best way (left) against another one."""
    return Comparison("m", items, 0.8, 0.7, -0.1, -0.2, 0.0, 0.5, "sign flip", better, 1, 2, could_show)  # type: ignore[arg-type]


def test_recommended_is_what_lost_least_of_those_with_nearly_the_best_gain() -> None:
    assert advise(POINTS, {}, higher=True).recommended == "kept"
    twins = advise({"plain": made(0.8, 0.3), "twin": made(0.8, 0.3)}, {}, higher=True)
    assert (twins.recommended, twins.alike) == ("plain", ("twin",))


def test_a_gain_that_is_no_more_than_chance_below_the_best_counts_where_the_examples_could_have_told() -> None:
    worse = {way: against("left", 0.2) for way in ("kept", "weak", "bad")}
    by_chance = advise(POINTS, {**worse, "weak": against(None, 0.2)}, higher=True)
    assert (by_chance.recommended, by_chance.level) == ("weak", ("plain", "kept", "weak"))
    assert "by no more than chance (weak: 400 examples can show 0.2000)" in by_chance.because
    for shows in (None, 0.7):  # the best gain is 0.6
        few = advise(POINTS, {"weak": against(None, shows, 8)}, higher=True)
        assert few.recommended == "kept"
        assert "8 validation examples are too few to tell weak from plain" in few.because
    assert advise(POINTS, worse, higher=True).level == ("plain", "kept")


def test_what_is_not_to_be_told_from_the_recommended_is_said() -> None:
    points = {"a": made(0.8, 0.100), "b": made(0.8, 0.115), "c": made(0.8, 0.2)}
    advice = advise(points, {}, higher=True)
    assert (advice.recommended, advice.alike) == ("a", ("b",))
    assert "Not to be told from it: b" in advice.because
    assert "another seed" in advice.because


def test_of_a_loss_less_is_a_gain() -> None:
    assert gain(made(0.15, 0.0), higher=False) == pytest.approx(0.05)


def test_the_page_and_the_table_name_every_way_and_escape_it() -> None:
    points = {"<b>": made(0.8, 0.1), "plain": made(0.7, 0.2)}
    advice = Advice("<b>", ("<b>", "plain"), ("plain",), "because <i>")
    study = Study("task_accuracy", True, points, advice, {"low-rate": "left out: <u>"})
    text = page(study)
    assert not {"<b>", "<i>", "<u>"} & {text[at : at + 3] for at in range(len(text))}
    assert text.count("&lt;b&gt;") == 2
    assert "1 &lt;b&gt;" in text
    assert "left out: &lt;u&gt;" in text
    assert "→ <b>" in table(study)
    assert "≈ plain" in table(study)


def test_the_page_shows_both_metrics_of_every_mixture_of_base_and_tuned() -> None:
    tried = [
        {"shares": shares, "value": value, "general": general}
        for shares, value, general in (
            ([1.0] * 3, 0.8, 3.3), ([0.5] * 3, 0.75, 3.1), ([0.5, 0.0, 0.5], 0.7, 3.05), ([0.0] * 3, 0.2, 3.0),
        )
    ]  # fmt: skip
    points = {"plain": made(0.8, 0.3), "interpolate": made(0.75, 0.1)}
    advice = Advice("interpolate", ("plain",), (), "")
    text = page(Study("task_accuracy", True, points, advice, {}, {"interpolate": tried}))
    assert "<td>1 100%</td><td>0.8000</td><td>+0.6000</td><td>+0.3000</td>" in text
    assert "<tr class=best><td>2 50%</td><td>0.7500</td><td>+0.5500</td><td>+0.1000</td>" in text
    assert "<td>3 0%</td><td>0.2000</td><td>+0.0000</td><td>+0.0000</td>" in text
    assert "<td>4 50%, 0%, 50%</td>" in text
    assert text.count("<svg") == 2
    assert page(Study("task_accuracy", True, points, advice)).count("<svg") == 1


def test_a_run_whose_every_validation_lost_too_much_says_so() -> None:
    report = {"run": "runs/x", "best_step": 0, "validation_loss": {"before": 1.0, "best": None}}
    with pytest.raises(UsageError, match=NEVER_WITHIN):
        point(report, "plain")


@pytest.mark.parametrize("way", WAYS)
def test_every_way_is_a_recipe(way: str, tmp_path: Path) -> None:
    data, rate = str(chat_file(tmp_path / "train.jsonl")), "training.learning_rate=1e-3"
    recipe = load_recipe(data, [rate, *_said(data, [rate], way, 0.05)]).recipe
    assert (recipe == load_recipe(data, [rate]).recipe) == (way == "plain")
    if way == "low-rate":
        assert recipe.training.learning_rate == pytest.approx(2e-4)
        assert recipe.keeping.most_lost == 0.05


def test_an_unknown_way_is_refused_before_anything_runs(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"no way 'prayer'.*replay"):
        retain("x.jsonl", out=tmp_path, ways=["prayer"])


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        (["retention.share=0.001"], r"too short.*retention\.share=0\.001 .*fewer than 512 .*up to 1.*steps"),
        (["retention.share=0.6"], r"kind=lora is too short"),
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


def test_a_study_by_a_metric_of_the_task_takes_more_of_it_for_better(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TUNESMITH_HOME", str(tmp_path / "home"))
    monkeypatch.setattr("tunesmith.run.retention.COMPARED", 200)
    data, held = chat_file(tmp_path / "train.jsonl"), chat_file(tmp_path / "held.jsonl", start=100, count=6)
    text = tmp_path / "general.txt"
    text.write_text("some words that are general. " * 100)
    settings = [
        f"model={folder}", f"data.validation={held}", "training.steps=6", "training.learning_rate=0.01",
        f"retention.text={text}", "retention.share=1", "training.validation.metric=exact_match",
    ]  # fmt: skip
    study = retain(str(data), settings, out=tmp_path / "study", ways=["low-rate"], say=lambda _: None)
    assert (study.metric, study.higher) == ("task_exact_match", True)
    resolved = load_recipe(str(tmp_path / "study" / "low-rate" / "recipe.yaml")).recipe
    assert resolved.keeping.most_lost == max(0.01, float(f"{study.points['plain'].lost / 2:.4g}"))


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
    assert study.advice.recommended in study.advice.level
    told = json.loads((tmp_path / "study" / "retain.json").read_text())
    assert {name: told[name] for name in ("recommended", "because")} == {
        name: getattr(study.advice, name) for name in ("recommended", "because")
    }
    assert [one["shares"] for one in told["sweeps"]["interpolate"]][-1] == [0.0] * 3
    kept = json.loads((tmp_path / "study" / "plain" / "examples.json").read_text())
    columns = np.array(kept["value"]["columns"]).sum(0)
    assert columns[0] / columns[1] == pytest.approx(study.points["plain"].value, rel=1e-5)
    assert "<svg" in (tmp_path / "study" / "retain.html").read_text()
    said.clear()
    again = retain(str(data), settings, out=tmp_path / "study", ways=["interpolate"], say=said.append)
    assert again == study
    assert not any(line.startswith("model: ") for line in said)
    with pytest.raises(CheckpointError, match=r"training\.steps"):
        retain(str(data), [*settings, "training.steps=7"], out=tmp_path / "study", say=said.append)
