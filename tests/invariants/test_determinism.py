"""What only looks at a run changes no bit of its weights; the seed changes everything that it should."""

import json
from pathlib import Path

import pytest
from tiny_model import chat_file, tiny_model

from tunesmith.disk import sha256_of
from tunesmith.models.methods import apply
from tunesmith.recipe import load_recipe
from tunesmith.run import prepare
from tunesmith.run.train import train

pytestmark = pytest.mark.whole

STEPS = 16
METHODS = {"full": ["method.kind=full"], "lora with dropout": ["method.rank=4", "method.dropout=0.2"]}
QUIET = ["data.validation=0", "checkpoints.every=100"]
WATCHED = {
    "a validation file": ["data.validation={held}", "retention.text=off", "checkpoints.every=100"],
    "everything that looks": [
        "data.validation={held}", "training.validation.every=4", "retention.share=1", "checkpoints.every=3",
        "training.validation.metrics=[exact_match, token_f1, loss]",
    ],
}  # fmt: skip


@pytest.fixture(scope="module")
def given(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    place = tmp_path_factory.mktemp("given")
    return {
        "model": tiny_model(place / "model"),
        "train": chat_file(place / "train.jsonl"),
        "held": chat_file(place / "held.jsonl", count=6, start=100),
    }


def run(given: dict[str, Path], folder: Path, *more: str) -> list[float]:
    """The losses of a small run in `folder`."""
    first = [f"model={given['model']}", f"data.train={given['train']}", "data.test=0", f"run={folder}"]
    settings = [f"training.steps={STEPS}", "training.batch_size=5", "training.learning_rate=0.01"]
    asked = [setting.format(held=given["held"]) if "{held}" in setting else setting for setting in more]
    train(load_recipe(None, [*first, *settings, *asked]), say=lambda _: None)
    return [json.loads(line)["loss"] for line in (folder / "metrics.jsonl").read_text().splitlines()]


def weights(folder: Path) -> str:
    """The sum of the last weights' file."""
    (file,) = (folder / "final").glob("*.safetensors")
    return sha256_of(file)


@pytest.mark.parametrize("method", METHODS)
def test_nothing_that_only_looks_changes_a_bit_of_the_weights(
    method: str, given: dict[str, Path], short_texts: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TUNESMITH_HOME", str(tmp_path / "home"))
    run(given, tmp_path / "alone", *METHODS[method], *QUIET)
    expected = weights(tmp_path / "alone")
    for name, settings in WATCHED.items():
        run(given, tmp_path / name, *METHODS[method], *settings)
        assert weights(tmp_path / name) == expected, name
    journal = (tmp_path / "everything that looks" / "metrics.jsonl").read_text()
    # Or nothing was measured that could have changed them.
    assert "retention_loss" in journal
    assert "task_exact_match" in journal


def test_the_same_seed_gives_the_same_bits_twice(given: dict[str, Path], tmp_path: Path) -> None:
    for name in ("one", "two"):
        run(given, tmp_path / name, *METHODS["lora with dropout"], *QUIET)
    assert weights(tmp_path / "one") == weights(tmp_path / "two")


def test_another_seed_gives_another_order(given: dict[str, Path], tmp_path: Path) -> None:
    one, other = (run(given, tmp_path / f"{seed}", "method.kind=full", *QUIET, f"seed={seed}") for seed in (0, 1))
    # The weights are the same before the first update, so only what stands in the batch can tell the two apart.
    assert abs(one[0] - other[0]) > 1e-3


@pytest.mark.parametrize(("dropout", "differs"), [(0.0, False), (0.3, True)])
def test_another_seed_gives_other_dropout(
    dropout: float, differs: bool, given: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Every batch holds all examples and every adapter starts alike, so that dropout alone is left to differ.
    monkeypatch.setattr(prepare, "apply", lambda method, model, *, seed: apply(method, model, seed=0))
    settings = ["method.rank=4", f"method.dropout={dropout}", "training.batch_size=24", *QUIET]
    one, other = (run(given, tmp_path / f"{seed}", *settings, f"seed={seed}") for seed in (0, 1))
    apart = max(abs(a - b) for a, b in zip(one, other, strict=True))
    assert (apart > 1e-4) is differs
