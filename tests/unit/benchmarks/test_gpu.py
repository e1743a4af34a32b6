"""The benchmark for a GPU runs, as a toy, on a CPU."""

import importlib.util
import sys
from pathlib import Path

import pytest


def test_the_toy_prints_a_row_for_each_method_and_says_what_was_chosen(
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
