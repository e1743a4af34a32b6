"""What a run is told of its data before a model is loaded."""

from pathlib import Path

import pytest
from tiny_model import chat_file

from tunesmith.data.settings import DataSettings
from tunesmith.errors import DataError, RecipeError
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


@pytest.mark.parametrize(("named", "cut"), [("validation", 0), ("test", 5)])
def test_a_test_file_leaves_a_validation_set_to_be_cut_and_a_validation_file_no_test_set(
    folder: Path, tmp_path: Path, named: str, cut: int
) -> None:
    train, file = chat_file(tmp_path / "train.jsonl", count=100), chat_file(tmp_path / "held.jsonl", start=200, count=3)
    data = DataSettings.model_validate({"train": str(train), named: str(file)})
    sets = read_sets(data, Encoder(Tokenizer.load(folder)), context=512)
    sizes = {"validation": len(sets.validation), "test": len(sets.test)}
    assert sizes.pop(named) == 3
    assert sizes.popitem()[1] == cut
    assert len(sets.train) == 100 - cut


def test_warnings_are_said_aloud_before_training_unless_they_are_allowed(folder: Path, tmp_path: Path) -> None:
    rows = chat_file(tmp_path / "train.jsonl", count=20).read_text()
    file = tmp_path / "train.jsonl"
    file.write_text(rows + rows.splitlines()[0].replace("\\n", "\\r\\n") + "\n" + rows.splitlines()[3] + "\n")

    def said(*settings: str) -> list[str]:
        told: list[str] = []
        prepare(load_recipe(str(file), [f"model={folder}", f"run={tmp_path / 'run'}", *settings]), say=told.append)
        return [text for text in told if "duplicate" in text]

    assert [text.split(":")[:2] for text in said()] == [["warning", " duplicate (2 times)"]]
    assert said("data.allow=[duplicate]") == []


def test_a_finding_that_the_recipe_names_stops_nothing_and_its_record_is_left_out(
    folder: Path, files: tuple[Path, Path]
) -> None:
    train, _ = files
    train.write_text(train.read_text() + '{"messages": [{"role": "user", "content": "?"}]}\n{\n')
    encoder = Encoder(Tokenizer.load(folder))
    with pytest.raises(DataError, match=r"data.allow='\[bad-json, no-answer\]'"):
        read_sets(DataSettings(train=str(train)), encoder, context=512)
    with pytest.raises(DataError, match="1 findings in 22 records"):
        read_sets(DataSettings(train=str(train), allow=("bad-json",)), encoder, context=512)
    sets = read_sets(DataSettings(train=str(train), allow=("bad-json", "no-answer")), encoder, context=512)
    assert (sets.read, dict(sets.dropped)) == (22, {"no-answer": 1, "bad-json": 1})


def test_a_finding_that_does_not_exist_cannot_be_allowed(folder: Path, files: tuple[Path, Path]) -> None:
    with pytest.raises(RecipeError, match=r"no finding 'bad-jsn'\. Did you mean 'bad-json'"):
        read_sets(DataSettings(train=str(files[0]), allow=("bad-jsn",)), Encoder(Tokenizer.load(folder)), context=512)


def test_an_example_that_is_too_long_is_left_out_where_the_recipe_names_the_finding(
    folder: Path, files: tuple[Path, Path]
) -> None:
    encoder = Encoder(Tokenizer.load(folder))
    lengths = sorted(len(one) for one in read_sets(DataSettings(train=str(files[0])), encoder, context=512).train)
    data = DataSettings(train=str(files[0]), minimum=1, validation=0, test=0)
    with pytest.raises(DataError, match=r"data.on_too_long=drop or data.allow='\[too-long\]'"):
        read_sets(data, encoder, context=lengths[0])
    sets = read_sets(data.model_copy(update={"allow": ("too-long",)}), encoder, context=lengths[0])
    assert sets.dropped["too-long"] == 20 - len(sets.train)
