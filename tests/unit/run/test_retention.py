import itertools
import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from safetensors.torch import load_file
from tiny_model import chat_file

from tunesmith.errors import DataError, UsageError
from tunesmith.evaluation.retention import LENGTH
from tunesmith.recipe import load_recipe
from tunesmith.run.retention import BOTH_MODELS, LEAST, TOKENS, WRITING, Sizes, retention, sizes
from tunesmith.run.train import train

pytestmark = pytest.mark.whole


@pytest.fixture(autouse=True)
def _home(short_texts: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What base models write is kept in a folder of the test."""
    monkeypatch.setenv("TUNESMITH_HOME", str(tmp_path / "home"))


def trained(folder: Path, place: Path, *more: str) -> tuple[Path, dict[str, Any]]:
    """A run of 24 steps with validation, and its report."""
    place.mkdir(exist_ok=True)
    data, held = chat_file(place / "train.jsonl"), chat_file(place / "held.jsonl", start=100, count=6)
    settings = {
        "model": folder, "run": place / "run", "data.validation": held, "training.steps": 24,
        "training.validation.every": 6, "training.learning_rate": 0.01, "retention.share": 1.0,
    }  # fmt: skip
    recipe = load_recipe(str(data), [*(f"{k}={v}" for k, v in settings.items()), *more])
    result = train(recipe, say=quiet)
    return result.folder, dict(result.report)


def quiet(text: str) -> None:
    """Say nothing."""


def test_a_run_is_measured_on_what_its_base_writes_and_the_text_is_written_once(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TUNESMITH_HOME", str(tmp_path))
    said: list[str] = []
    first = retention(str(run), tokens=100, say=said.append)
    assert first.tokens >= 100
    assert first.kl.value > 0
    assert retention(str(run), tokens=100, say=said.append) == first
    assert sum("writes" in text for text in said) == 1


def test_a_file_of_general_text_is_read_as_far_as_asked(run: Path, tmp_path: Path) -> None:
    text = tmp_path / "general.txt"
    text.write_text("some words that are general " * 100)
    found = retention(str(run), text=str(text), tokens=600, say=quiet)
    assert 600 <= found.tokens < 600 + LENGTH


def test_conversations_are_no_general_text(run: Path, chats: Path) -> None:
    with pytest.raises(DataError, match="not conversations"):
        retention(str(run), text=str(chats), say=quiet)


def test_a_model_has_no_base_to_compare_with(folder: Path) -> None:
    with pytest.raises(UsageError, match="no run folder"):
        retention(str(folder), say=quiet)


def test_every_run_with_validation_data_reports_what_was_lost(folder: Path, tmp_path: Path) -> None:
    run, report = trained(folder, tmp_path)
    found = report["retention"]
    assert found["general"]["tokens"] >= LEAST
    assert found["general"]["kl"]["value"] > 0
    assert found["prompts"]["kl"]["value"] > 0
    journal = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    assert [e["step"] for e in journal if "retention_loss" in e] == [6, 12, 18, 24]
    assert journal[-1]["retention_loss"] > found["loss_before"]


def test_all_that_measuring_takes_is_counted_and_writing_the_text_apart(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ticks = itertools.count()
    clock = SimpleNamespace(perf_counter=lambda: float(next(ticks)))
    monkeypatch.setattr("tunesmith.run.retention.time", clock)
    (tmp_path / "general.txt").write_text("some words that are general " * 100)
    _, first = trained(folder, tmp_path / "a")
    _, again = trained(folder, tmp_path / "b", f"retention.text={tmp_path / 'general.txt'}")
    validations = 4
    for found in (first["retention"], again["retention"]):
        assert found["seconds"] == 1 + validations + 1  # the base's loss, one on each validation, the end
    assert [found["retention"]["writing_seconds"] for found in (first, again)] == [1, 0]


def test_what_is_reported_is_that_of_the_best_weights(folder: Path, tmp_path: Path) -> None:
    run, report = trained(folder, tmp_path, "training.validation.min_improvement=100", "method.kind=full")
    assert report["best_step"] == 6
    found = report["retention"]["general"]
    again = retention(str(run), tokens=found["tokens"], say=quiet)
    assert again.tokens == found["tokens"]
    assert again.kl.value == pytest.approx(found["kl"]["value"], rel=1e-3)


@pytest.mark.parametrize("kind", ["lora", "full"])
def test_measuring_does_not_change_a_bit_of_the_weights(folder: Path, tmp_path: Path, kind: str) -> None:
    method = [f"method.kind={kind}"] + (["method.dropout=0.1"] if kind == "lora" else [])
    measured, _ = trained(folder, tmp_path / "a", *method)
    alone, report = trained(folder, tmp_path / "b", "retention.text=off", *method)
    assert report["retention"] is None
    name = "adapter_model.safetensors" if kind == "lora" else "model.safetensors"
    left, right = (load_file(run / "final" / name) for run in (measured, alone))
    assert all(left[key].equal(right[key]) for key in left)


def test_a_short_run_is_measured_on_its_prompts_alone(folder: Path, tmp_path: Path) -> None:
    _, report = trained(folder, tmp_path, "retention.share=0.01")
    assert report["retention"].keys() >= {"prompts"}
    assert "general" not in report["retention"]
    assert not (tmp_path / "home" / "general").exists()


def test_a_run_may_be_measured_on_a_file(folder: Path, tmp_path: Path) -> None:
    text = tmp_path / "general.txt"
    text.write_text("some words that are general " * 100)
    _, report = trained(folder, tmp_path, f"retention.text={text}")
    assert report["retention"]["general"]["tokens"] >= LEAST
    assert not (tmp_path / "home" / "general").exists()


@pytest.mark.parametrize("work", [1e3, 3e4, 1e5, 1e7])
@pytest.mark.parametrize("written", [None, 0, 2048, 30_000])
def test_measuring_costs_no_more_than_the_work_it_is_given(work: float, written: int | None) -> None:
    found = sizes(work, 10, written)
    fresh = 0 if written is None else max(0, found.general - written)
    points = 0 if not found.along else 10 // found.every + 1
    spent = BOTH_MODELS * (found.general + found.prompts) + WRITING * fresh + 0.6 * points * found.along
    assert spent <= max(1.05 * work, 70)


def test_a_long_run_is_measured_on_twenty_thousand_tokens_at_every_validation() -> None:
    assert sizes(1e6, 10, 0) == Sizes(TOKENS, 2000, TOKENS, 1)
