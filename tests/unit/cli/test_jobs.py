"""`tunesmith jobs` against our own server, and what it sends to those of OpenAI and Azure."""

import json
import socket
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest
import uvicorn

from tunesmith.cli.main import run
from tunesmith.web.app import create_app
from tunesmith.web.service import Service, Wanted

pytestmark = pytest.mark.whole

FAKE = (sys.executable, str(Path(__file__).parents[2] / "fake_tunesmith.py"))


class _Other(BaseHTTPRequestHandler):
    asked: list[tuple[str, str, dict[str, str], str]] = []  # noqa: RUF012

    def _any(self) -> None:
        at = urlsplit(self.path)
        self.asked.append((self.command, at.path, dict(self.headers), at.query))
        self.rfile.read(int(self.headers.get("content-length") or 0))
        page = {"data": [{"id": "j-1", "status": "running", "model": "m"}], "has_more": "after" not in at.query}
        job = {"id": "j-1", "status": "cancelled", "result_files": ["f-1"]}
        known = {"/v1/files": {"id": "f-1"}, "/v1/files/f-1": {"id": "f-1", "filename": "../step_metrics.csv"}}
        reply = known.get(at.path) or (page if self.command == "GET" and at.path.endswith("jobs") else job)
        self.send_response(404 if "missing" in at.path else 200)
        self.end_headers()
        self.wfile.write(json.dumps({"error": {"message": "no such job"}} if "missing" in at.path else reply).encode())

    do_GET = do_POST = _any

    def log_message(self, *_: object) -> None:
        """Nothing."""


@pytest.fixture
def other(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The address of a server that is not ours."""
    _Other.asked.clear()
    for name in ("TUNESMITH_API_KEY", "OPENAI_BASE_URL", "AZURE_OPENAI_API_KEY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("OPENAI_API_KEY", "sk-theirs")
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Other)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    thread.join()
    server.server_close()


def test_a_job_is_created_at_the_address_that_openais_clients_read(
    other: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("OPENAI_BASE_URL", f"{other}/v1")
    (tmp_path / "a.jsonl").write_text("{}\n")
    assert run(["jobs", "create", str(tmp_path / "a.jsonl"), "--model", "gpt-4o-mini", "--suffix", "s"]) == 0
    assert capsys.readouterr().out == "j-1\n"
    assert [(method, path) for method, path, _, _ in _Other.asked] == [
        ("POST", "/v1/files"),
        ("POST", "/v1/fine_tuning/jobs"),
    ]
    assert all(headers["authorization"] == "Bearer sk-theirs" for _, _, headers, _ in _Other.asked)


def test_azure_gets_its_key_and_its_version_with_every_request(
    other: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("AZURE_OPENAI_API_KEY", "azure")
    assert run(["jobs", "list", "--url", f"{other}/openai", "--api-version", "2025-04-01"]) == 0
    assert capsys.readouterr().out.startswith("j-1\trunning\tm")
    assert len(_Other.asked) == 2  # both pages
    for _, path, headers, query in _Other.asked:
        assert path == "/openai/fine_tuning/jobs"
        assert (headers["api-key"], "authorization" in headers) == ("azure", False)
        assert parse_qs(query)["api-version"] == ["2025-04-01"]


def test_a_result_file_is_written_under_a_name_of_ours(
    other: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["jobs", "download", "j-1", "--to", str(tmp_path / "out"), "--url", f"{other}/v1"]) == 0
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["j-1-step_metrics.csv"]


def test_what_a_server_refuses_is_a_sentence(other: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["jobs", "cancel", "missing", "--url", f"{other}/v1"]) == 2
    assert "no such job (404)" in capsys.readouterr().err


@pytest.fixture
def ours(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The address of our own server, at work; its key is in the environment."""
    service = Service.of(Wanted(tmp_path / "home", {"base": "base"}, command=FAKE))
    monkeypatch.setenv("TUNESMITH_API_KEY", str(service.keys.first()))
    listening = socket.create_server(("127.0.0.1", 0))
    server = uvicorn.Server(uvicorn.Config(create_app(service), log_config=None, access_log=False))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
    thread.start()
    service.start_workers()
    yield f"http://127.0.0.1:{listening.getsockname()[1]}/v1"
    server.should_exit = True
    thread.join()
    service.close()
    listening.close()


def _until(said: str, words: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    """What a command prints once it says this."""
    tick = threading.Event()
    for _ in range(600):
        assert run(words) == 0
        if said in (out := capsys.readouterr().out):
            return out
        tick.wait(0.1)
    raise AssertionError(f"{words} never said {said}")


def test_a_job_on_our_own_server_is_followed_from_its_file_to_its_results(
    ours: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "a.jsonl").write_text("{}\n" * 20)
    assert run(["jobs", "create", str(tmp_path / "a.jsonl"), "--model", "base", "--suffix", "s", "--url", ours]) == 0
    id = capsys.readouterr().out.strip()
    assert "ft:base:tunesmith:s:" in _until("succeeded", ["jobs", "show", id, "--url", ours], capsys)
    assert f"{id}\tsucceeded\tbase" in _until(id, ["jobs", "list", "--url", ours], capsys)
    told = _until("Created", ["jobs", "events", id, "--url", ours], capsys)
    assert "The job has successfully completed" in told
    assert run(["jobs", "download", id, "--to", str(tmp_path / "out"), "--url", ours]) == 0
    (file,) = (tmp_path / "out").iterdir()
    assert file.read_text().startswith("step,train_loss,train_accuracy,valid_loss,valid_mean_token_accuracy")


def test_a_job_on_our_own_server_is_paused_resumed_and_cancelled(
    ours: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "a.jsonl").write_text("SLOW\n" * 20)
    assert run(["jobs", "create", str(tmp_path / "a.jsonl"), "--model", "base", "--url", ours]) == 0
    id = capsys.readouterr().out.strip()
    _until("Step 1/", ["jobs", "events", id, "--url", ours], capsys)
    for order, status in (("pause", "paused"), ("resume", "queued"), ("cancel", "cancelled")):
        assert run(["jobs", order, id, "--url", ours]) == 0
        assert capsys.readouterr().out.strip() == status
    assert run(["jobs", "cancel", id, "--url", ours]) == 2
    assert "is cancelled" in capsys.readouterr().err
