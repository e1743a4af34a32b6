"""Remote data are fetched once, fetched anew when they change, and read from the copy when nobody answers."""

import json
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import fsspec
import pytest

from tunesmith.data import remote
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


class Server(BaseHTTPRequestHandler):
    """Gives `/rows.jsonl` and nothing else, and says nothing of its own."""

    def do_HEAD(self) -> None:
        self._answer(b"")

    def do_GET(self) -> None:
        self._answer(ROW.encode() * 3)

    def _answer(self, body: bytes) -> None:
        self.send_response(200 if self.path == "/rows.jsonl" else 404)
        self.send_header("Content-Length", str(len(ROW.encode() * 3)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def address(memory: Any) -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Server) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()


def test_a_web_server_is_read_once_and_asked_for_no_more_than_it_has(address: str) -> None:
    assert read_examples(f"{address}/rows.jsonl").read == 3
    assert [path.name for path in fetch(f"{address}/rows.jsonl")] == ["rows.jsonl"]
    with pytest.raises(DataError, match="nothing stands at this address"):
        fetch(f"{address}/others.jsonl")


def test_no_more_is_fetched_than_the_disk_has_room_for(
    memory: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    memory.pipe("/a.jsonl", ROW.encode() * 100)
    monkeypatch.setattr(remote, "room", lambda folder: 50)
    with pytest.raises(DataError, match=r"a\.jsonl: holds more than the 0\.0 GiB that the disk has room for"):
        fetch("memory://a.jsonl")
    assert not [path for path in (tmp_path / "home").rglob("*") if path.is_file()]


@pytest.mark.parametrize("address", ["s3://bucket/a.jsonl", "gs://bucket/a.jsonl"])
def test_an_address_whose_protocol_needs_another_package_names_it(
    address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for package in ("s3fs", "gcsfs"):
        monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(DataError, match=r"cannot be opened: .*(s3fs|gcsfs|gcs)"):
        fetch(address)


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
