"""Benchmarks are known by name, and their questions are found in training data."""

import json
from pathlib import Path

import pytest

from tunesmith.data.benchmarks import BENCHMARKS, benchmark
from tunesmith.data.inspection import inspect
from tunesmith.errors import DataError

LONG = "Natalia sold clips to 48 of her friends in April, and then she sold half as many clips in May."


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with three benchmarks as they are published."""
    files = {
        "gsm8k/test.jsonl": json.dumps({"question": LONG, "answer": "#### 72"}) + "\n",
        "mmlu/test/law_test.csv": f'"{LONG}",a,b,c,d,B\nWhat is a tort?,a,b,c,d,A\n',
        "bbh/words.json": json.dumps({"canary": "x", "examples": [{"input": "a", "target": "b"}, {"input": LONG}]}),
    }
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True)
        (tmp_path / name).write_text(text, encoding="utf-8")
    monkeypatch.setenv("TUNESMITH_DATA", str(tmp_path))
    return tmp_path


@pytest.mark.parametrize(("name", "line"), [("gsm8k", 1), ("MMLU", 1), ("bbh", 2)])
def test_a_trained_question_is_found_and_named(folder: Path, name: str, line: int) -> None:
    rows = [{"prompt": f"Solve this! {LONG} How many?", "completion": "72"}]
    found = inspect(rows, against={name: name})
    (finding,) = [f for f in found.findings if f.name == "contamination"]
    assert finding.other is not None
    assert (Path(finding.other.file).is_relative_to(folder), finding.other.line) == (True, line)


def test_a_short_question_is_found_where_it_is_the_whole_prompt(folder: Path) -> None:
    found = inspect([{"prompt": "What is a tort?", "completion": "A wrong."}], against={"mmlu": "mmlu"})
    assert [f.name for f in found.findings] == ["leak"]


def test_a_benchmark_that_is_not_there_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TUNESMITH_DATA", str(tmp_path))
    with pytest.raises(DataError, match="TUNESMITH_DATA"):
        benchmark("mmlu")


def test_every_benchmark_beside_the_checkout_can_be_read(real_data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TUNESMITH_DATA", str(real_data))
    sizes = {name: len(benchmark(name) or ()) for name in BENCHMARKS}
    assert sizes == {"mmlu": 14079, "gsm8k": 1319, "bbh": 6511, "ifeval": 540, "mt_bench": 160, "alpaca_eval": 805}
