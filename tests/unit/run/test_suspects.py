"""Examples that a run found hard are named with file and line."""

import json
from pathlib import Path

import pytest
from tiny_model import chat_file
from typer.testing import CliRunner

from tunesmith.cli.main import app
from tunesmith.errors import UsageError
from tunesmith.recipe import load_recipe
from tunesmith.run.suspects import suspects
from tunesmith.run.train import train
from tunesmith.training.journal import read as read_journal


@pytest.fixture(scope="module")
def taught(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of three epochs over twelve examples, the eleventh of which is unlike the others."""
    place = tmp_path_factory.mktemp("suspects")
    data = chat_file(place / "data.jsonl", count=12)
    lines = data.read_text().splitlines()
    lines[10] = json.dumps({"messages": [{"role": "user", "content": "?"}, {"role": "assistant", "content": "ÿþ" * 9}]})
    data.write_text("\n".join(lines) + "\n")
    settings = [
        f"model={folder}", f"run={place / 'run'}", "data.validation=0", "data.test=0", "method.kind=full",
        "training.epochs=3", "training.batch_size=4", "training.learning_rate=0.003",
    ]  # fmt: skip
    return train(load_recipe(str(data), settings), say=lambda _: None).folder


def test_the_hardest_example_is_named_with_its_line_and_every_loss(taught: Path) -> None:
    found = suspects(taught, most=3)
    assert (found.examples, found.epochs, len(found.highest)) == (12, 3, 3)
    hardest = found.highest[0]
    assert (Path(hardest.file).name, hardest.line, hardest.prompt, hardest.answer) == ("data.jsonl", 11, "?", "ÿþ" * 9)
    assert len(hardest.losses) == 3


def test_the_mean_of_an_epoch_is_that_of_the_journal(taught: Path) -> None:
    # Every answer but one has as many tokens, so a step without it is the plain mean of its examples.
    found = suspects(taught, most=12)
    first = [one.losses[0] for one in found.highest]
    assert all(loss is not None for loss in first)
    steps = read_journal(taught / "metrics.jsonl")[:3]
    assert sum(s["loss"] * s["supervised_tokens"] for s in steps) == pytest.approx(
        sum((loss or 0) * (2 if one.line != 11 else 37) for loss, one in zip(first, found.highest, strict=True)),
        rel=1e-3,
    )


def test_those_that_never_fell_are_all_whose_first_loss_stayed_the_lowest(taught: Path) -> None:
    found = suspects(taught, most=12)
    known = {one.line: [loss for loss in one.losses if loss is not None] for one in found.highest}
    assert {one.line for one in found.never_fell} == {i for i, losses in known.items() if min(losses[1:]) >= losses[0]}
    assert found.rose == len(found.never_fell)


def test_the_command_prints_a_table_and_an_object(taught: Path) -> None:
    shown = CliRunner().invoke(app, ["data", "suspects", str(taught), "-n", "2"])
    assert shown.exit_code == 0, shown.output
    assert "data.jsonl:11" in shown.output
    printed = CliRunner().invoke(app, ["data", "suspects", str(taught), "--json"])
    assert json.loads(printed.output)["highest"][0]["line"] == 11


def test_a_folder_without_a_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no run"):
        suspects(tmp_path)
