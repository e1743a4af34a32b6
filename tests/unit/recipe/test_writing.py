"""What is written reads back as the same recipe, here and in readers of YAML 1.1."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from ruamel.yaml import YAML

from tunesmith.recipe import dump, load_recipe
from tunesmith.recipe.reading import read_text
from tunesmith.recipe.writing import write_tree

_PLAIN = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text()


@given(st.dictionaries(st.text(), _PLAIN | st.lists(_PLAIN, max_size=3), max_size=4))
def test_any_plain_data_reads_back(tree: dict[str, object]) -> None:
    assert read_text(write_tree({"x": 1, **tree}, {}), "f.yaml").values == {"x": 1, **tree}


@given(st.sampled_from(["no", "On", "y", "null", "1e5", "2e-05", "0o7", "010", "a: b", "# c", "~", "é", "\U0001f600"]))
def test_text_stays_text_in_a_reader_of_yaml_1_1(text: str) -> None:
    old = YAML(typ="safe", pure=True)
    old.version = (1, 1)
    assert old.load(write_tree({"a": text}, {})) == {"a": text}


def test_a_small_float_stays_a_float_in_a_reader_of_yaml_1_1() -> None:
    old = YAML(typ="safe", pure=True)
    old.version = (1, 1)
    assert old.load(write_tree({"a": 2e-5}, {})) == {"a": 2e-5}


@given(st.text(max_size=40))
def test_a_comment_never_becomes_a_value(comment: str) -> None:
    assert read_text(write_tree({"a": 1, "b": 2}, {"a": comment}), "f.yaml").values == {"a": 1, "b": 2}


@pytest.mark.parametrize("overrides", [[], ["method.kind=full"], ["data.train=[b, c]", "data.fields={a: b}"]])
def test_a_recipe_that_is_written_reads_back_as_itself(tmp_path: Path, overrides: list[str]) -> None:
    loaded = load_recipe(str(tmp_path / "a.jsonl"), [*overrides, f"run={tmp_path}/out"])
    run = tmp_path / "out"
    run.mkdir()
    path = run / "recipe.yaml"
    comments = {name: str(origin) for name, origin in loaded.origins.items()}
    path.write_text(dump(loaded.recipe, comments, header=["Tunesmith 0.1"], folder=run), encoding="utf-8")
    again = load_recipe(str(path)).recipe
    assert again.model_copy(update={"data": loaded.recipe.data, "run": loaded.recipe.run}) == loaded.recipe
    assert again.data.model_dump(exclude={"train"}) == loaded.recipe.data.model_dump(exclude={"train"})
    train = (again.data.train,) if isinstance(again.data.train, str) else again.data.train
    before = (loaded.recipe.data.train,) if isinstance(loaded.recipe.data.train, str) else loaded.recipe.data.train
    assert [Path(t).resolve() for t in train] == [Path(b).resolve() for b in before]


def test_origins_stand_beside_the_values() -> None:
    loaded = load_recipe("a.jsonl").resolve("training.epochs", 3, "few examples")
    text = dump(loaded.recipe, {name: str(origin) for name, origin in loaded.origins.items()})
    assert "  epochs: 3  # resolved: few examples\n" in text
