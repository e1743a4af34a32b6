"""A profiled step accounts for its time, and its picture is a page of its own."""

from pathlib import Path

import pytest
from tiny_model import chat_file, tiny_model

from tunesmith.cli import main
from tunesmith.recipe import load_recipe
from tunesmith.run.profile import profile


@pytest.fixture
def arguments(tmp_path: Path) -> list[str]:
    data = chat_file(tmp_path / "train.jsonl")
    return [str(data), f"model={tiny_model(tmp_path / 'model')}", "training.batch_size=4", "data.validation=0"]


def test_the_own_times_of_all_operations_are_the_time_of_the_step(arguments: list[str]) -> None:
    found = profile(load_recipe(arguments[0], arguments[1:]), say=lambda text: None)
    own = sum(part.own_seconds for part in found.operations)
    assert own == pytest.approx(found.tree.seconds, rel=0.05)
    assert {"gradient", "norm and clipping", "update"} <= found.tree.parts.keys()
    assert found.measured.tokens > found.measured.computed_tokens > 0


def test_the_command_prints_a_table_and_writes_one_page_that_needs_nothing_else(
    arguments: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    picture = tmp_path / "flame.html"
    assert main.run(["profile", *arguments, "--flame", str(picture)]) == 0
    assert "tokens/s" in capsys.readouterr().out
    page = picture.read_text(encoding="utf-8")
    assert "LlamaModel" in page
    assert "http" not in page
    assert "<script" not in page
