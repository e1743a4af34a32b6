"""Remote data are fetched once, fetched anew when they change, and read from the copy when nobody answers."""

import hashlib
import io
import json
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar
from urllib.parse import parse_qs, unquote

import fsspec
import pyarrow
import pyarrow.parquet
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


class Refused(Exception):
    """An error as the hub's client has them, which is none of the system's."""


@pytest.mark.parametrize("error", [ConnectionError, Refused])
def test_a_place_that_does_not_answer_is_read_from_the_copy(
    error: type[Exception], memory: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    memory.pipe("/a.jsonl", ROW.encode())
    copy = fetch("memory://a.jsonl")

    def silent(*_: object, **__: object) -> None:
        raise error("no route")

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


class Store(BaseHTTPRequestHandler):
    """Answers with files or parts of them, and says nothing of its own."""

    files: ClassVar[dict[str, bytes]] = {}

    def do_HEAD(self) -> None:
        self.do_GET()  # type: ignore[attr-defined]

    def send(self, status: int, body: bytes) -> None:
        first, _, last = self.headers.get("Range", "").removeprefix("bytes=").partition("-")
        part = body[int(first) : int(last or len(body)) + 1] if first else body
        self.send_response(206 if first and status == 200 else status)
        self.send_header("Content-Length", str(len(part)))
        self.send_header("ETag", f'"{hashlib.sha1(body).hexdigest()}"')
        self.send_header("Last-Modified", "Thu, 01 Jan 2026 00:00:00 GMT")
        self.send_header("X-Repo-Commit", "5" * 40)
        if status == 404:
            self.send_header("X-Error-Code", "EntryNotFound")
        if first:
            self.send_header("Content-Range", f"bytes {first}-{int(first) + len(part) - 1}/{len(body)}")
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(part)

    def log_message(self, *_: object) -> None:
        pass


class Hub(Store):
    """The hub's answers about one data set: what stands in a folder of its Parquet branch, and the files."""

    branch = "refs%2Fconvert%2Fparquet"

    def do_POST(self) -> None:
        asked = parse_qs(self.rfile.read(int(self.headers["Content-Length"])).decode())
        named = [entry for path in asked["paths"] for entry in self._below(path)]
        self._tell(named if self.path.endswith(f"/paths-info/{self.branch}") else None)

    def do_GET(self) -> None:
        path, _, _ = self.path.partition("?")
        if (name := path.partition(f"/resolve/{self.branch}/")[2]) in self.files:
            self.send(200, self.files[name])
        elif path.endswith(f"/datasets/owner/set/revision/{self.branch}"):
            self._tell({"id": "owner/set", "sha": "5" * 40})
        else:
            self._tell(self._below(unquote(path.partition(f"/datasets/owner/set/tree/{self.branch}")[2]).strip("/")))

    def _below(self, folder: str) -> list[dict[str, Any]]:
        found: dict[str, dict[str, Any]] = {}
        for name, raw in self.files.items():
            parts = name.split("/")
            for depth in range(1, len(parts) + 1):
                path = "/".join(parts[:depth])
                kind = {"type": "file", "size": len(raw)} if path == name else {"type": "directory"}
                if path == folder or (path.startswith(f"{folder}/") and depth == folder.count("/") + 2):
                    found[path] = {"path": path, "oid": hashlib.sha1(raw).hexdigest(), **kind}
        return list(found.values())

    def _tell(self, answer: Any) -> None:
        self.send(200 if answer else 404, json.dumps(answer or {"error": "not found"}).encode())


def _parquet(rows: list[dict[str, str]]) -> bytes:
    out = io.BytesIO()
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), out)
    return out.getvalue()


def test_a_hub_name_with_subset_and_split_is_read_from_the_hub(memory: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    import huggingface_hub

    rows = [{"prompt": f"Q{i}", "completion": "A"} for i in range(4)]
    files = {
        "default/train/0000.parquet": _parquet(rows), "default/train/0001.parquet": _parquet(rows[:2]),
        "default/test/0000.parquet": _parquet(rows[:1]), "en/validation/0000.parquet": _parquet(rows[:3]),
    }  # fmt: skip
    monkeypatch.setattr(Hub, "files", files)
    huggingface_hub.HfFileSystem.clear_instance_cache()
    with ThreadingHTTPServer(("127.0.0.1", 0), Hub) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        address, constants = f"http://127.0.0.1:{server.server_address[1]}", huggingface_hub.constants
        template = constants.HUGGINGFACE_CO_URL_TEMPLATE.replace(constants.ENDPOINT, address)
        monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
        monkeypatch.setattr(constants, "ENDPOINT", address)
        counts = {
            name: read_examples(name).read
            for name in ("hub:owner/set", "hub:owner/set:test", "hub:owner/set:en:validation")
        }
        (named,) = fetch("hf://datasets/owner/set@refs/convert/parquet/en/validation/0000.parquet")
        with pytest.raises(DataError, match="nothing stands at this address"):
            fetch("hub:owner/set:fr:train")
        server.shutdown()
    huggingface_hub.HfFileSystem.clear_instance_cache()
    assert counts == {"hub:owner/set": 6, "hub:owner/set:test": 1, "hub:owner/set:en:validation": 3}
    assert named.read_bytes() == files["en/validation/0000.parquet"]


class Bucket(Store):
    """An object store that speaks as much of S3's protocol as reading takes."""

    def do_GET(self) -> None:
        path, _, query = self.path.partition("?")
        key = unquote(path).removeprefix("/bucket").strip("/")
        if not key and "list-type=2" in query:
            self.send(200, self._listed(unquote(parse_qs(query).get("prefix", [""])[0])).encode())
        else:
            self.send(200 if key in self.files else 404, self.files.get(key, b""))

    def _listed(self, prefix: str) -> str:
        entries = "".join(
            f"<Contents><Key>{key}</Key><Size>{len(raw)}</Size><LastModified>2026-01-01T00:00:00.000Z</LastModified>"
            f'<ETag>"{hashlib.sha1(raw).hexdigest()}"</ETag></Contents>'
            for key, raw in self.files.items()
            if key.startswith(prefix)
        )
        return f"<ListBucketResult><IsTruncated>false</IsTruncated>{entries}</ListBucketResult>"


def test_a_bucket_is_read_by_name_and_by_pattern(memory: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    s3fs = pytest.importorskip("s3fs")
    monkeypatch.setattr(Bucket, "files", {"set/a.jsonl": ROW.encode() * 2, "set/b.jsonl": ROW.encode() * 3})
    s3fs.S3FileSystem.clear_instance_cache()
    with ThreadingHTTPServer(("127.0.0.1", 0), Bucket) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        for name, value in {
            "AWS_ENDPOINT_URL": f"http://127.0.0.1:{server.server_address[1]}", "AWS_ACCESS_KEY_ID": "id",
            "AWS_SECRET_ACCESS_KEY": "secret", "AWS_DEFAULT_REGION": "us-east-1",
        }.items():  # fmt: skip
            monkeypatch.setenv(name, value)
        assert read_examples("s3://bucket/set/a.jsonl").read == 2
        assert read_examples("s3://bucket/set/*.jsonl").read == 5
        with pytest.raises(DataError, match="nothing stands at this address"):
            fetch("s3://bucket/set/c.jsonl")
        server.shutdown()
    s3fs.S3FileSystem.clear_instance_cache()


class Cloud(Store):
    """An object store that speaks as much of Google's JSON protocol as reading takes."""

    def do_GET(self) -> None:
        path, _, query = self.path.partition("?")
        key = unquote(path.partition("/storage/v1/b/bucket/o")[2]).strip("/")
        if path.startswith("/download/") or "alt=media" in query:
            self.send(200 if key in self.files else 404, self.files.get(key, b""))
        elif key:
            self.send(200 if key in self.files else 404, json.dumps(self._told(key)).encode())
        else:
            (prefix,) = parse_qs(query).get("prefix", [""])
            items = [self._told(name) for name in self.files if name.startswith(prefix)]
            self.send(200, json.dumps({"kind": "storage#objects", "items": items}).encode())

    def _told(self, key: str) -> dict[str, Any]:
        raw = self.files.get(key, b"")
        return {
            "kind": "storage#object", "name": key, "bucket": "bucket", "size": str(len(raw)), "generation": "1",
            "etag": hashlib.sha1(raw).hexdigest(), "updated": "2026-01-01T00:00:00.000Z",
            "timeCreated": "2026-01-01T00:00:00.000Z",
        }  # fmt: skip


def test_a_bucket_of_google_s_is_read_by_name_and_by_pattern(memory: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GCSFS_EXPERIMENTAL_ZB_HNS_SUPPORT", "false")  # else it asks Google what kind of bucket it is
    gcsfs = pytest.importorskip("gcsfs")
    monkeypatch.setattr(Cloud, "files", {"set/a.jsonl": ROW.encode() * 2, "set/b.jsonl": ROW.encode() * 3})
    gcsfs.GCSFileSystem.clear_instance_cache()
    with ThreadingHTTPServer(("127.0.0.1", 0), Cloud) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        monkeypatch.setenv("STORAGE_EMULATOR_HOST", f"http://127.0.0.1:{server.server_address[1]}")
        monkeypatch.setitem(fsspec.config.conf, "gs", {"token": "anon"})
        assert read_examples("gs://bucket/set/a.jsonl").read == 2
        assert read_examples("gs://bucket/set/*.jsonl").read == 5
        with pytest.raises(DataError, match="nothing stands at this address"):
            fetch("gs://bucket/set/c.jsonl")
        server.shutdown()
    gcsfs.GCSFileSystem.clear_instance_cache()
