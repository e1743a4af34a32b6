"""The commands around recipes."""

import json
from pathlib import Path

import pytest

from tunesmith.cli.main import run
from tunesmith.recipe import load_recipe


def test_show_prints_a_recipe_with_the_origin_of_each_value(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = tmp_path / "r.yaml"
    source.write_text("data:\n  train: a.jsonl\n")
    assert run(["recipe", "show", str(source), "seed=5"]) == 0
    text = capsys.readouterr().out
    assert "seed: 5  # command line" in text
    assert f"# {source}:2" in text
    again = tmp_path / "again.yaml"
    again.write_text(text)
    assert load_recipe(str(again)).recipe.seed == 5


def test_check_passes_only_when_the_data_are_there(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = tmp_path / "r.yaml"
    source.write_text("data:\n  train: a.jsonl\n")
    assert run(["recipe", "check", str(source)]) == 3
    (tmp_path / "a.jsonl").write_text("{}\n")
    assert run(["recipe", "check", str(source)]) == 0
    assert capsys.readouterr().out == ""


def test_schema_is_json_schema_that_names_every_group(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["recipe", "schema"]) == 0
    schema = json.loads(capsys.readouterr().out)
    assert schema["additionalProperties"] is False
    assert {"model", "data", "method", "training"} <= set(schema["properties"])


def test_import_prints_a_recipe_and_talks_on_stderr(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    theirs = tmp_path / "trl.yaml"
    theirs.write_text("model_name_or_path: org/base\ndataset_name: a.jsonl\npacking: true\n")
    assert run(["recipe", "import", str(theirs)]) == 0
    told = capsys.readouterr()
    ours = tmp_path / "ours.yaml"
    ours.write_text(told.out)
    assert load_recipe(str(ours)).recipe.model == "org/base"
    assert "packing: not translated" in told.err
