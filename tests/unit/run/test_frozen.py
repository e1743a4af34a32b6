"""Runs whose frozen layers are computed once."""

import json
from pathlib import Path

import pytest

from tunesmith.models.lower import Lower
from tunesmith.recipe import load_recipe
from tunesmith.run.train import train


def losses(folder: Path, chats: Path, run: Path, said: list[str], *more: str) -> list[float]:
    settings = [
        f"model={folder}", f"run={run}", "method.kind=frozen", "method.layers=1", "data.minimum=1", "data.validation=0",
        "data.test=0", "training.batch_size=2", "training.learning_rate=0.01", *more,
    ]  # fmt: skip
    train(load_recipe(str(chats), settings), say=said.append)
    return [json.loads(line)["loss"] for line in (run / "metrics.jsonl").read_text().splitlines()]


def test_stored_states_change_no_loss_and_are_told_of(folder: Path, chats: Path, tmp_path: Path) -> None:
    said: list[str] = []
    stored = losses(folder, chats, tmp_path / "stored", said, "training.epochs=2")
    assert any(text.startswith("frozen layers: their output of") for text in said)
    plain = losses(folder, chats, tmp_path / "plain", said, "training.epochs=2", "method.store=false")
    assert stored == pytest.approx(plain, rel=1e-5)
    assert stored[-1] < stored[0]


def test_one_epoch_stores_nothing(folder: Path, chats: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(Lower, "states")
    assert len(losses(folder, chats, tmp_path / "run", [], "training.epochs=1")) == 3
