"""vLLM as an engine, played by a small server that keeps to its API."""

import asyncio
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from tunesmith.errors import RequestError, UsageError
from tunesmith.serving.vllm import Vllm, command


class _Plays(BaseHTTPRequestHandler):
    loaded: dict[str, str] = {}  # noqa: RUF012

    def do_GET(self) -> None:
        self._say(200, b"")

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        if self.path == "/v1/load_lora_adapter":
            self.loaded[body["lora_name"]] = body["lora_path"]
            return self._say(200, b"Success")
        if self.path == "/v1/unload_lora_adapter":
            self.loaded.pop(body["lora_name"])
            return self._say(200, b"Success")
        known = body["model"] == "base" or body["model"] in self.loaded
        return self._say(200 if known else 404, json.dumps({"asked": body}).encode())

    def _say(self, status: int, content: bytes) -> None:
        self.send_response(status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_: object) -> None:
        """Nothing."""


@pytest.fixture
def played() -> Iterator[str]:
    """The address of the server."""
    _Plays.loaded.clear()
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Plays)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    thread.join()
    server.server_close()


def _asked(vllm: Vllm, model: str) -> tuple[int, Any]:
    async def ask() -> tuple[int, Any]:
        body = json.dumps({"model": model, "messages": []}).encode()
        status, _, pieces = await vllm.answer("/v1/chat/completions", body)
        return status, json.loads(b"".join([piece async for piece in pieces]))

    return asyncio.run(ask())


def test_an_adapter_is_loaded_when_it_is_first_asked_for_and_unloaded_when_it_is_deleted(
    played: str, tmp_path: Path
) -> None:
    (tmp_path / "adapter_config.json").write_text("{}")
    vllm = Vllm(played, ["base"], lambda name: tmp_path if name == "ft:base:me::1" else None)
    vllm.wait(5)
    vllm.ready("base")
    assert not _Plays.loaded
    vllm.ready("ft:base:me::1")
    assert _Plays.loaded == {"ft:base:me::1": str(tmp_path)}
    assert _asked(vllm, "ft:base:me::1") == (200, {"asked": {"model": "ft:base:me::1", "messages": []}})
    vllm.forget("ft:base:me::1")
    assert not _Plays.loaded


def test_a_model_that_is_not_there_or_stands_alone_is_refused(played: str, tmp_path: Path) -> None:
    vllm = Vllm(played, ["base"], lambda name: tmp_path if name == "whole" else None)
    for name, status in (("none", 404), ("whole", 400)):
        with pytest.raises(RequestError) as error:
            vllm.ready(name)
        assert error.value.status == status


def test_an_engine_that_is_away_is_said_so() -> None:
    with pytest.raises(RequestError) as error:
        _asked(Vllm("http://127.0.0.1:9", ["base"], lambda _: None), "base")
    assert error.value.status == 503
    with pytest.raises(UsageError):
        Vllm("http://127.0.0.1:9", ["base"], lambda _: None).wait(0.1)


def test_one_vllm_holds_one_base() -> None:
    with pytest.raises(UsageError, match="one base"):
        Vllm.start({"a": "a", "b": "b"}, lambda _: None, 8100)
    assert {"--enable-lora", "--served-model-name"} < set(command("base", "org/model", 8100))
