"""Large data give the same sets as small ones, from a cache that is never stale and goes on after a crash."""

import os
import subprocess
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from ready_team import ReadyTeam
from tiny_model import chat_file

from tunesmith.data.example import Origin, Passage
from tunesmith.data.settings import DataSettings
from tunesmith.errors import DataError
from tunesmith.recipe import load_recipe
from tunesmith.run import encoding, examples
from tunesmith.run.encoding import encoded_sets
from tunesmith.run.examples import Sets, read_sets
from tunesmith.run.train import train
from tunesmith.tokens.encode import Encoder
from tunesmith.tokens.encoded import EncodedExample
from tunesmith.tokens.tokenizer import Tokenizer


@pytest.fixture
def encoder(folder: Path) -> Encoder:
    return Encoder(Tokenizer.load(folder))


@pytest.fixture(autouse=True)
def everything_is_large(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A cache of its own, used for data of any size, in portions of seven."""
    monkeypatch.setenv("TUNESMITH_HOME", str(tmp_path / "home"))
    monkeypatch.setattr(encoding, "KEPT", 0)
    monkeypatch.setattr(encoding, "LARGE", 0)
    monkeypatch.setattr(encoding, "PORTION", 7)
    monkeypatch.setattr(encoding, "Team", ReadyTeam)
    monkeypatch.setattr(encoding, "SHARED", 0)


def plain(examples: Sequence[EncodedExample]) -> list[tuple[Any, ...]]:
    return [(one.origin, one.ids.tolist(), one.weights.tolist()) for one in examples]


def assert_same(one: Sets, other: Sets) -> None:
    for side in ("train", "validation", "test"):
        assert plain(getattr(one, side)) == plain(getattr(other, side))
    for name in ("read", "dropped", "format", "sha256", "findings", "longest"):
        assert getattr(one, name) == getattr(other, name), name


def broken_file(path: Path) -> Path:
    """Forty conversations, an answerless one and a line that is no JSON among them."""
    lines = chat_file(path, count=40).read_text().splitlines()
    lines[11] = '{"messages": [{"role": "user", "content": "a"}]}'
    lines[23] = "{"
    path.write_text("\n".join(lines) + "\n")
    return path


def test_the_sets_are_those_of_data_in_memory(encoder: Encoder, tmp_path: Path) -> None:
    file = str(broken_file(tmp_path / "data.jsonl"))
    data = DataSettings(train=file, validation=0.2, test=0.1, on_bad_record="drop", on_no_target="drop")
    told: list[int] = []
    found = encoded_sets(data, encoder, context=512, tell=told.append)
    assert_same(found, read_sets(data, encoder, context=512))
    assert told == [7, 14, 21, 28, 35, 38]
    assert found.train[-1].origin == found.train[len(found.train) - 1].origin
    again: list[int] = []
    assert_same(encoded_sets(data, encoder, context=512, tell=again.append), found)
    assert again == []


def test_held_out_files_are_sets_of_their_own_and_leaks_are_told(encoder: Encoder, tmp_path: Path) -> None:
    seen = chat_file(tmp_path / "seen.jsonl", count=3)
    data = DataSettings(train=str(chat_file(tmp_path / "train.jsonl")), test=str(seen))
    found, expected = encoded_sets(data, encoder, context=512), read_sets(data, encoder, context=512)
    assert_same(found, expected)
    assert [(leak.file, leak.line) for leak in found.leaks] == [(str(seen), line) for line in (1, 2, 3)]
    assert [leak.message for leak in found.leaks] == [leak.message for leak in expected.leaks[:3]]


def test_what_fits_in_memory_is_encoded_once_with_all_that_was_found_in_it(
    encoder: Encoder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(encoding, "LARGE", 2**40)
    train = chat_file(tmp_path / "train.jsonl", count=20)
    train.write_text(train.read_text() + train.read_text().splitlines()[3] + "\n")
    data = DataSettings(train=str(train), test=str(chat_file(tmp_path / "seen.jsonl", count=3)))
    expected = read_sets(data, encoder, context=512)
    assert len(expected.leaks) == 3
    assert expected.warned
    encoded_sets(data, encoder, context=512)
    monkeypatch.delattr(encoding, "read_sets")
    found = encoded_sets(data, encoder, context=512)
    assert_same(found, expected)
    assert (found.leaks, found.warned) == (expected.leaks, expected.warned)


class Killed(BaseException):
    """Stands for the death of the process."""


def cached(home: Path) -> dict[str, bytes]:
    """The files of the only cache."""
    (folder,) = [path for path in (home / "encoded").iterdir() if path.is_dir()]
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_the_cache_is_the_same_for_any_number_of_processes_that_filled_it_in_turn(
    encoder: Encoder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file, seen = broken_file(tmp_path / "data.jsonl"), chat_file(tmp_path / "seen.jsonl")
    context = max(map(len, read_sets(DataSettings(train=str(seen)), encoder, context=512).train))
    file.write_text(file.read_text().replace("Answer with", "Answer <|im_end|> with", 12))  # longer by a few tokens
    drop = {"on_bad_record": "drop", "on_no_target": "drop", "on_too_long": "drop"}
    data = DataSettings.model_validate({"train": str(file), "test": str(seen), **drop})

    def filled(name: str, *processes: int) -> dict[str, bytes]:
        """The cache that so many processes filled, one lot after the other had been killed."""
        monkeypatch.setenv("TUNESMITH_HOME", str(tmp_path / name))
        for number, count in enumerate(processes, start=1):

            def kill(done: int, until: int = 14 * number, last: bool = number == len(processes)) -> None:
                if done >= until and not last:
                    raise Killed

            with suppress(Killed):
                encoded_sets(data, encoder, context=context, tell=kill, processes=count)
        return cached(tmp_path / name)

    alone = filled("alone", 1)
    assert b'"too-long"' in alone["sets.json"]
    assert filled("two", 2) == alone
    assert filled("in turn", 2, 1, 3) == alone


def test_data_in_memory_are_the_same_for_any_number_of_processes(
    encoder: Encoder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(examples, "PORTION", 7)
    monkeypatch.setattr(examples, "Team", ReadyTeam)
    data = DataSettings(train=str(chat_file(tmp_path / "data.jsonl", count=40)))
    assert_same(read_sets(data, encoder, context=512, processes=3), read_sets(data, encoder, context=512))


def test_small_files_start_no_process(encoder: Encoder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = chat_file(tmp_path / "data.jsonl")
    monkeypatch.setattr(encoding, "SHARED", file.stat().st_size + 1)
    monkeypatch.setattr(subprocess, "Popen", None)
    assert encoded_sets(DataSettings(train=str(file)), encoder, context=512, processes=8).read == 24


def test_an_interrupted_encoding_goes_on_where_it_was(encoder: Encoder, tmp_path: Path) -> None:
    data = DataSettings(train=str(chat_file(tmp_path / "data.jsonl", count=40)))

    def kill(done: int) -> None:
        if done >= 20:
            raise Killed

    with pytest.raises(Killed):
        encoded_sets(data, encoder, context=512, tell=kill)
    (unfinished,) = (tmp_path / "home" / "encoded").glob(".*.partial")
    for name in ("examples/ids", "owners"):
        with (unfinished / name).open("r+b") as file:  # which must be there
            file.seek(0, os.SEEK_END)
            file.write(b"torn")
    told: list[int] = []
    found = encoded_sets(data, encoder, context=512, tell=told.append)
    assert told == [28, 35, 40]
    assert_same(found, read_sets(data, encoder, context=512))


def test_another_file_template_or_setting_is_another_cache(encoder: Encoder, folder: Path, tmp_path: Path) -> None:
    file = chat_file(tmp_path / "data.jsonl", count=40)
    data = DataSettings(train=str(file))
    other = Encoder(Tokenizer.load(folder), train_on="all")

    def encoded_anew(data: DataSettings, encoder: Encoder, context: int = 512) -> bool:
        told: list[int] = []
        encoded_sets(data, encoder, context=context, tell=told.append)
        return bool(told)

    assert encoded_anew(data, encoder)
    assert not encoded_anew(data, encoder)
    assert encoded_anew(data, other)
    assert encoded_anew(data, encoder, context=256)
    assert encoded_anew(DataSettings(train=str(file), system="Be short."), encoder)
    chat_file(file, count=40, start=1)
    assert encoded_anew(data, encoder)


def test_what_stops_a_run_stops_it_and_leaves_nothing(encoder: Encoder, tmp_path: Path) -> None:
    data = DataSettings(train=str(broken_file(tmp_path / "data.jsonl")))
    with pytest.raises(DataError, match="2 findings in 40 records"):
        encoded_sets(data, encoder, context=512)
    with pytest.raises(DataError, match="longer than the context of 20 tokens"):
        encoded_sets(DataSettings(train=str(chat_file(tmp_path / "good.jsonl"))), encoder, context=20)
    assert not [path for path in (tmp_path / "home" / "encoded").iterdir() if path.is_dir()]


def test_a_run_on_the_cache_is_the_run_on_memory(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = chat_file(tmp_path / "data.jsonl", count=24)

    def losses(run: str) -> bytes:
        settings = [f"model={folder}", f"run={tmp_path / run}", "training.steps=3", "training.batch_size=4"]
        train(load_recipe(str(data), settings), say=lambda _: None)
        return (tmp_path / run / "losses.f32").read_bytes()

    cached = losses("cached")
    monkeypatch.setattr(encoding, "LARGE", 2**40)
    assert losses("kept") == cached
    monkeypatch.setattr(encoding, "KEPT", 2**40)
    assert losses("memory") == cached


def test_what_fits_in_memory_needs_no_home_that_may_be_written(
    encoder: Encoder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    data = DataSettings(train=str(chat_file(tmp_path / "data.jsonl")), validation=0.2)
    monkeypatch.setattr(encoding, "write_places", full)
    with pytest.raises(OSError, match="No space"):
        encoded_sets(data, encoder, context=512)
    monkeypatch.setattr(encoding, "LARGE", 1 << 20)
    assert_same(encoded_sets(data, encoder, context=512), read_sets(data, encoder, context=512))


def test_places_are_known_in_more_files_than_16_bits_count() -> None:
    keys = encoding._Keys()
    for number in range(65_540):
        keys.add(Passage("text", Origin(f"{number}.txt", 1)))
    assert keys.origin(65_539) == Origin("65539.txt", 1)
