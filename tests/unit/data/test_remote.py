"""Remote data are fetched once, fetched anew when they change, and read from the copy when nobody answers."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import fsspec
import pytest

from tunesmith.data.reading import read_examples
from tunesmith.data.remote import fetch, hub_address, is_remote
from tunesmith.errors import DataError

ROW = json.dumps({"prompt": "Q", "completion": "A"}) + "\n"


@pytest.fixture
def memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    monkeypatch.setenv("TUNESMITH_HOME", str(tmp_path / "home"))
    files = fsspec.filesystem("memory")
    yield files
    files.store.clear()


def test_an_address_is_read_like_a_file_and_a_pattern_like_several(memory: Any) -> None:
    memory.pipe("/data/a.jsonl", ROW.encode())
    memory.pipe("/data/b.jsonl", ROW.encode() * 2)
    assert read_examples("memory://data/b.jsonl").read == 2
    assert read_examples("memory://data/*.jsonl").read == 3


def test_a_file_that_changed_is_fetched_anew(memory: Any) -> None:
    memory.pipe("/a.jsonl", ROW.encode())
    assert read_examples("memory://a.jsonl").read == 1
    memory.pipe("/a.jsonl", ROW.encode() * 5)
    assert read_examples("memory://a.jsonl").read == 5


def test_a_place_that_does_not_answer_is_read_from_the_copy(memory: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    memory.pipe("/a.jsonl", ROW.encode())
    copy = fetch("memory://a.jsonl")

    def silent(*_: object, **__: object) -> None:
        raise ConnectionError("no route")

    monkeypatch.setattr(type(memory), "info", silent)
    assert fetch("memory://a.jsonl") == copy
    with pytest.raises(DataError, match="cannot be reached"):
        fetch("memory://b.jsonl")


def test_nothing_at_an_address_is_an_error(memory: Any) -> None:
    with pytest.raises(DataError, match="nothing stands at this address"):
        read_examples("memory://nowhere.jsonl")
    with pytest.raises(DataError, match="cannot be opened"):
        fetch("nonsense://a.jsonl")


@pytest.mark.parametrize(
    ("name", "place"),
    [
        ("hub:owner/set", "default/train"),
        ("hub:owner/set:test", "default/test"),
        ("hub:owner/set:en:validation", "en/validation"),
    ],
)
def test_a_hub_name_means_the_parquet_files_of_its_subset_and_split(name: str, place: str) -> None:
    assert is_remote(name)
    assert hub_address(name) == f"hf://datasets/owner/set@refs/convert/parquet/{place}/*.parquet"


@pytest.mark.parametrize("name", ["hub:set", "hub:a/b/c", "hub:owner/set:", "hub:owner/set:a:b:c"])
def test_a_hub_name_that_is_none_says_how_it_is_written(name: str) -> None:
    with pytest.raises(DataError, match="is written hub:OWNER/NAME"):
        hub_address(name)
