"""What a path means where it is written."""

from pathlib import Path

import pytest

from tunesmith.recipe import load_recipe
from tunesmith.recipe.paths import anchored, data_files, relative


def _train(tree: dict[str, object]) -> object:
    data = tree["data"]
    assert isinstance(data, dict)
    return data["train"]


def test_a_recipe_and_its_data_move_together(tmp_path: Path) -> None:
    inside = relative({"data": {"train": str(tmp_path / "data" / "a.jsonl")}}, tmp_path / "runs" / "x")
    assert _train(inside) == "../../data/a.jsonl"
    assert _train(anchored(inside, tmp_path / "runs" / "x")) == str(tmp_path / "data" / "a.jsonl")


def test_a_path_with_nothing_in_common_is_written_in_full() -> None:
    assert _train(relative({"data": {"train": "/a/b.jsonl"}}, Path("/c/d"))) == "/a/b.jsonl"


@pytest.mark.parametrize("name", ["org/model", "smollm2-135m-instruct"])
def test_a_model_name_is_no_path_unless_it_exists_there(tmp_path: Path, name: str) -> None:
    assert anchored({"model": name}, tmp_path)["model"] == name
    (tmp_path / name).mkdir(parents=True)
    assert anchored({"model": name}, tmp_path)["model"] == str(tmp_path / name)


@pytest.mark.parametrize("address", ["https://host/a.jsonl", "hub:org/set:train"])
def test_an_address_is_no_path(tmp_path: Path, address: str) -> None:
    assert _train(anchored({"data": {"train": address}}, tmp_path)) == address


def test_a_tilde_is_the_home_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/me")
    assert load_recipe(None, ["data.train=~/a.jsonl"]).recipe.data.train == "/home/me/a.jsonl"


def test_shares_are_no_files() -> None:
    recipe = load_recipe("a.jsonl", ["data.validation=0.1", "data.test=t.jsonl"]).recipe
    assert data_files(recipe) == ["a.jsonl", "t.jsonl"]
