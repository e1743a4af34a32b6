"""Every run proves a little of itself before its first step."""

from pathlib import Path
from typing import Any

import pytest
import torch

from tunesmith.errors import ModelError
from tunesmith.models import adapters
from tunesmith.recipe import load_recipe
from tunesmith.run import quicktest
from tunesmith.run.prepare import Prepared, Ready, make_ready, prepare
from tunesmith.run.quicktest import SHARE, prove
from tunesmith.run.train import train


def quiet(text: str) -> None:
    """Say nothing."""


def made(folder: Path, data: Path, *more: str) -> tuple[Prepared, Ready]:
    settings = [f"model={folder}", f"data.train={data}", "data.validation=0", "data.test=0", "data.minimum=1", *more]
    prepared = prepare(load_recipe(None, settings), quiet)
    return prepared, make_ready(prepared, quiet)


LORA = ("method.kind=lora", "method.rank=2", "training.steps=400")


def test_a_run_says_in_one_line_what_was_proved_and_at_what_cost(folder: Path, chats: Path) -> None:
    said: list[str] = []
    prepared, ready = made(folder, chats, *LORA)
    prove(prepared, ready, said.append)
    (line,) = said
    for what in ("prefix of what is trained", "teaches its end token", "packed = alone", "adapter starts as the base"):
        assert what in line


def test_a_short_run_spends_little(folder: Path, chats: Path) -> None:
    said: list[str] = []
    prove(*made(folder, chats, "method.kind=full", "training.steps=1"), said.append)
    assert "template alone" in said[0]
    prepared, _ = made(folder, chats, "method.kind=full", "training.steps=60", "training.batch_size=2")
    mean = sum(map(len, prepared.sets.train)) / len(prepared.sets.train)
    spent = sum(map(len, quicktest._affordable(prepared)))
    assert 0 < spent <= mean * 60 * 2 / SHARE


def test_an_adapter_that_does_not_start_as_the_base_stops_the_run(folder: Path, chats: Path) -> None:
    prepared, ready = made(folder, chats, *LORA)
    for layer in adapters.adapted(ready.model).values():
        torch.nn.init.constant_(layer.lora_B, 0.1)
    with pytest.raises(ModelError, match=r"does not hold that the adapter starts as the base.*Nothing was trained"):
        prove(prepared, ready, quiet)


def test_a_step_that_computes_something_else_stops_the_run_before_anything_is_written(
    folder: Path, chats: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def wrong(*_: Any) -> float:
        return 1.0

    monkeypatch.setattr(quicktest, "_alone", wrong)
    settings = [
        f"model={folder}", f"data.train={chats}", "data.validation=0", "data.test=0", "data.minimum=1",
        f"run={tmp_path / 'run'}", *LORA,
    ]  # fmt: skip
    with pytest.raises(ModelError, match="packed = alone"):
        train(load_recipe(None, settings), say=quiet)
    assert not (tmp_path / "run").exists()


def test_the_test_leaves_weights_and_random_numbers_as_they_were(folder: Path, chats: Path) -> None:
    prepared, ready = made(folder, chats, *LORA)
    before = {name: value.clone() for name, value in ready.model.state_dict().items()}
    state = torch.random.get_rng_state()
    prove(prepared, ready, quiet)
    assert torch.equal(torch.random.get_rng_state(), state)
    assert all(torch.equal(value, before[name]) for name, value in ready.model.state_dict().items())
