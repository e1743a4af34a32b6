"""What a run remembers of how it was asked for."""

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tunesmith.errors import CheckpointError
from tunesmith.recipe import load_recipe
from tunesmith.run.continuing import asked_for, prove_asked_the_same, prove_same, record
from tunesmith.run.folder import IDENTITY
from tunesmith.training.durable import write_json


def test_what_was_asked_for_is_what_somebody_wrote_with_paths_in_full(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    loaded = load_recipe("a.jsonl", ["data.validation=0.1", "run=out", "training.steps=3", "method.rank=4"])
    assert asked_for(loaded) == {
        "data.train": f'"{tmp_path}/a.jsonl"', "data.validation": "0.1", "training.steps": "3", "method.rank": "4",
    }  # fmt: skip


def test_several_files_are_each_told_in_full(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert asked_for(load_recipe(None, ["data.train=[a.jsonl, b.jsonl]"])) == {
        "data.train": f'["{tmp_path}/a.jsonl", "{tmp_path}/b.jsonl"]'
    }


def test_another_share_of_the_data_is_another_run_unless_it_is_accepted(tmp_path: Path) -> None:
    write_json(tmp_path / IDENTITY, {"asked": dict(asked_for(load_recipe("a.jsonl", ["data.validation=0.1"])))})
    other = load_recipe("a.jsonl", ["data.validation=0.2"])
    with pytest.raises(CheckpointError, match=r"data\.validation: was 0\.1, is 0\.2"):
        prove_asked_the_same(tmp_path, other, ())
    prove_asked_the_same(tmp_path, other, ["data.validation"])


def test_an_identity_that_cannot_be_read_is_told(tmp_path: Path) -> None:
    (tmp_path / IDENTITY).write_text("{")
    with pytest.raises(CheckpointError, match=r"identity\.json: cannot be read"):
        prove_asked_the_same(tmp_path, load_recipe("a.jsonl"), ())


WHAT = ("data.train", "data.validation", "model", "tokenizer and template", "tunesmith", "torch", "transformers",
        "tokenizers", "python", "numerics", "processor", "attention")  # fmt: skip
SETTINGS = ("seed", "method.rank", "training.learning_rate", "training.threads", "supervision.max_length")


@pytest.fixture
def prepared() -> Any:
    """What a run's numbers depend on."""
    return SimpleNamespace(
        loaded=load_recipe("a.jsonl", ["method.rank=4"]),
        sets=SimpleNamespace(sha256={"data.train": "1" * 64, "data.validation": "2" * 64}),
        source=SimpleNamespace(fingerprint="3" * 64),
        encoder=SimpleNamespace(fingerprint="4" * 64),
    )


@pytest.mark.parametrize("name", [*WHAT, *SETTINGS])
def test_whatever_a_number_depends_on_is_refused_by_name_and_accepted_by_it(
    name: str, prepared: Any, tmp_path: Path
) -> None:
    then: dict[str, Any] = dict(record(prepared, {}))
    (then["settings"] if name in SETTINGS else then)[name] = "another"
    write_json(tmp_path / IDENTITY, then)
    with pytest.raises(CheckpointError) as told:
        prove_same(tmp_path, prepared, ["seed2"])
    assert f"\n  {name}: was another, is " in str(told.value)
    assert str(told.value).count("--accept") == 1
    assert f"--accept '{name}'" in str(told.value)
    assert prove_same(tmp_path, prepared, [name]) == record(prepared, {})


def test_nothing_else_is_compared(prepared: Any, tmp_path: Path) -> None:
    then = json.loads(json.dumps(record(prepared, {})))
    assert set(then) == {*WHAT, "settings", "asked"}
    write_json(tmp_path / IDENTITY, then)
    prove_same(tmp_path, prepared, ())
