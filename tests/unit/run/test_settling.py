"""What a network is made to be on its device, and that it is said."""

import importlib.util
import os
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from invariants.families import BY_FOREST, build
from invariants.test_forest_equals_alone import LONGEST

from tunesmith.errors import RecipeError
from tunesmith.models.methods import apply
from tunesmith.models.probe import probe
from tunesmith.models.recompute import Recomputed
from tunesmith.models.settings import Frozen
from tunesmith.run.settling import settle, settle_process
from tunesmith.training.settings import TrainingSettings


def settled(**given: Any) -> tuple[Any, list[str]]:
    """The blocks that are computed twice, and what is said, for a model whose lowest layer is frozen."""
    model = build(BY_FOREST["Llama"]())
    network = probe(model, longest=LONGEST).network
    method, told = Frozen(layers=1), []
    applied = apply(method, model, seed=0)
    settle(network, applied, method, TrainingSettings(**given), longest=LONGEST, say=told.append)
    return [isinstance(layer.__dict__.get("forward"), Recomputed) for layer in model.model.layers], told


def test_with_memory_for_all_of_it_nothing_is_computed_twice_and_that_is_said() -> None:
    blocks, told = settled()
    assert blocks == [False, False, False]
    assert told[0].endswith("no block is computed twice")


def test_blocks_from_the_lowest_trained_one_are_computed_twice_as_asked() -> None:
    blocks, told = settled(recompute=1)
    assert blocks == [False, True, False]
    assert told[0].endswith("1 of 2 blocks are computed twice")


def test_compiling_on_a_cpu_is_refused_with_the_reason() -> None:
    with pytest.raises(RecipeError, match=r"training\.compile: on a CPU"):
        settled(compile="on")


def test_the_benchmark_for_a_gpu_prints_its_table_as_a_toy_anywhere(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = importlib.util.spec_from_file_location("gpu", Path(__file__).parents[3] / "benchmarks" / "gpu.py")
    assert spec is not None
    assert spec.loader is not None
    gpu = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, "gpu", gpu)
    spec.loader.exec_module(gpu)
    gpu.main(["--tiny", "--peak", "1"])
    lines = capsys.readouterr().out.splitlines()
    rows = [line.split(" | ") for line in lines if line.startswith("| toy")]
    assert [row[1] for row in rows] == ["lora", "full"]
    assert all(float(row[2].replace(",", "")) > 0 and row[4].endswith(" %") for row in rows)
    assert any("computed twice" in line for line in lines)


def test_a_deterministic_run_takes_only_operations_that_give_the_same_bits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CUBLAS_WORKSPACE_CONFIG", raising=False)
    settle_process(TrainingSettings())
    assert not torch.are_deterministic_algorithms_enabled()
    try:
        settle_process(TrainingSettings(deterministic=True))
        assert torch.are_deterministic_algorithms_enabled()
        assert os.environ["CUBLAS_WORKSPACE_CONFIG"] == ":4096:8"
    finally:
        torch.use_deterministic_algorithms(False)
        monkeypatch.delenv("CUBLAS_WORKSPACE_CONFIG", raising=False)
