"""What a run remembers of how it was asked for."""

from pathlib import Path

import pytest

from tunesmith.errors import CheckpointError
from tunesmith.recipe import load_recipe
from tunesmith.run.continuing import asked_for, prove_asked_the_same
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
