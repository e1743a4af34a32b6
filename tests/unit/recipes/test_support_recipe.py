"""The recipe beside the sample data, and how the demo shows what it did."""

import importlib.util
import io
import json
from pathlib import Path
from types import ModuleType

import pytest
from rich.console import Console

from tunesmith.evaluation.item import Item
from tunesmith.recipe import load_recipe

FOLDER = Path(__file__).parents[3] / "recipes" / "support"
LABEL = '{"category":"billing","product":"Nova Lamp"}'


@pytest.fixture(scope="module")
def demo() -> ModuleType:
    spec = importlib.util.spec_from_file_location("demo", FOLDER / "demo.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def items(right: int, of: int = 20) -> list[Item]:
    answers = [LABEL] * right + ["I am [not] JSON"] * (of - right)
    return [Item(answer, LABEL, prompt=f"message {place}") for place, answer in enumerate(answers)]


def printed(value: object) -> str:
    console = Console(file=io.StringIO(), width=120, markup=False)
    console.print(value)
    return console.file.getvalue()  # type: ignore[attr-defined, no-any-return]


def test_the_recipe_is_valid_and_its_files_lie_beside_it() -> None:
    data = load_recipe(str(FOLDER / "recipe.yaml")).recipe.data
    for file in (data.train, data.validation, data.test):
        assert isinstance(file, str)
        assert Path(file).is_file()


def test_a_chat_opens_with_the_system_message_of_the_rows() -> None:
    rows = (FOLDER / "train.jsonl").read_text(encoding="utf-8").splitlines()
    said = {json.loads(row)["messages"][0]["content"] for row in rows}
    assert said == {load_recipe(str(FOLDER / "recipe.yaml")).recipe.data.system}


def test_the_table_shows_base_and_tuned_with_their_intervals(demo: ModuleType) -> None:
    line = next(line for line in printed(demo.table(items(0), items(20))).splitlines() if "all four fields" in line)
    assert "0.0%  [0.0% – 16.1%]" in line
    assert "100.0%  [83.9% – 100.0%]" in line


def test_the_difference_is_told_with_its_interval_and_its_doubt(demo: ModuleType) -> None:
    assert demo.difference(items(0), items(20)) == (
        "difference: +100.0%, 95 % interval +100.0% to +100.0% (McNemar's p = 2e-06)"
    )
    assert "p = 1)" in demo.difference(items(5), items(5))


def test_both_answers_stand_beside_the_message_as_they_were_written(demo: ModuleType) -> None:
    shown = printed(demo.side_by_side(items(0)[:1], items(1)[:1]))
    assert all(words in shown for words in ("message 0", "I am [not] JSON", '"billing"'))
