"""A run with every way to keep what the base can, interrupted and resumed, is bit for bit the run that never was."""

from pathlib import Path

import pytest
from invariants.test_resume import arguments, contents, killed_at, quiet
from tiny_model import chat_file, tiny_model

from tunesmith.recipe import load_recipe
from tunesmith.run.train import resume, train

pytestmark = pytest.mark.whole


@pytest.mark.parametrize("method", ["lora", "full"])
def test_every_way_to_keep_resumes_to_the_same_bits(
    method: str, short_texts: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TUNESMITH_HOME", str(tmp_path / "home"))
    monkeypatch.setattr("tunesmith.run.retention.COMPARED", 100)
    model = tiny_model(tmp_path / "model")
    data = chat_file(tmp_path / "train.jsonl"), chat_file(tmp_path / "held.jsonl", count=6, start=100)
    earlier = chat_file(tmp_path / "earlier.jsonl", count=6, start=300)
    ways = [
        f"method.kind={method}", f"keeping.replay_text={earlier}", "keeping.replay=0.2", "keeping.kl=0.5",
        "keeping.l2_sp=0.1", "keeping.ewc=0.5", "keeping.most_lost=10", "keeping.interpolate=whole",
        "training.token_weighting=entropy",
    ]  # fmt: skip
    train(load_recipe(None, arguments(model, data, tmp_path / "whole", *ways)), say=quiet)
    broken = tmp_path / "broken"
    settings = arguments(model, data, broken, *ways)
    killed_at(7, monkeypatch, lambda: train(load_recipe(None, settings), say=quiet))
    resume(broken, say=quiet)
    assert contents(broken) == contents(tmp_path / "whole")
    assert any("/kept/" in f"/{name}" for name in contents(broken)["files"])
