"""What a run is told of its data before a model is loaded."""

from pathlib import Path

import pytest
from tiny_model import chat_file

from tunesmith.data.settings import DataSettings
from tunesmith.recipe import load_recipe
from tunesmith.run.examples import read_sets
from tunesmith.run.prepare import prepare
from tunesmith.tokens.encode import Encoder
from tunesmith.tokens.tokenizer import Tokenizer


@pytest.fixture
def files(tmp_path: Path) -> tuple[Path, Path]:
    """Training data and a test set of which the first two are trained, too."""
    held_out = tmp_path / "test.jsonl"
    rows = chat_file(tmp_path / "seen.jsonl", count=2).read_text() + chat_file(held_out, start=50, count=3).read_text()
    held_out.write_text(rows)
    return chat_file(tmp_path / "train.jsonl", count=20), held_out


def test_held_out_prompts_that_are_trained_are_kept_with_their_places(folder: Path, files: tuple[Path, Path]) -> None:
    train, held_out = files
    data = DataSettings(train=str(train), test=str(held_out))
    sets = read_sets(data, Encoder(Tokenizer.load(folder)), context=512)
    assert [(leak.name, leak.file, leak.line) for leak in sets.leaks] == [
        ("leak", str(held_out), 1),
        ("leak", str(held_out), 2),
    ]
    assert sets.read == len(sets.train) + len(sets.validation) + len(sets.test) + sum(sets.dropped.values())


def test_they_are_said_aloud_before_training(folder: Path, files: tuple[Path, Path], tmp_path: Path) -> None:
    said: list[str] = []
    settings = {"model": folder, "data.test": files[1], "run": tmp_path / "run"}
    prepare(load_recipe(str(files[0]), [f"{k}={v}" for k, v in settings.items()]), say=said.append)
    (warning,) = [text for text in said if "held-out" in text]
    assert warning.startswith("warning: 2 held-out prompts stand in the training data (2 as they are, 0 nearly)")
    assert f"{files[1]}:1" in warning


def test_a_split_of_one_file_never_warns(folder: Path, files: tuple[Path, Path]) -> None:
    sets = read_sets(DataSettings(train=str(files[0])), Encoder(Tokenizer.load(folder)), context=512)
    assert sets.leaks == ()
