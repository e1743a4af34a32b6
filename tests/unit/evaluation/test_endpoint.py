"""An endpoint that speaks chat completions answers as a model does."""

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from tunesmith.data.example import Example, Message, Origin, Passage
from tunesmith.errors import DataError, UsageError
from tunesmith.evaluation.endpoint import Endpoint, endpoint_items, is_endpoint


class Parrot(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        known = asked["model"] == "parrot"
        said = f"{asked['messages'][-1]['content']}! key {self.headers.get('Authorization')}"
        reply = {"choices": [{"message": {"content": said}, "finish_reason": "stop"}]} if known else {"error": "who?"}
        body = json.dumps(reply).encode()
        self.send_response(200 if known else 404)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        return


@pytest.fixture
def url() -> Iterator[str]:
    server = HTTPServer(("127.0.0.1", 0), Parrot)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield f"http://127.0.0.1:{server.server_address[1]}/v1"
    server.shutdown()
    thread.join()
    server.server_close()


def test_examples_are_answered_with_the_key_of_the_environment(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TUNESMITH_ENDPOINT_KEY", "k")
    messages = (Message("system", "s"), Message("user", "hello"), Message("assistant", "hi"))
    assert is_endpoint(f"{url}#parrot")
    (item,) = endpoint_items(Endpoint.of(f"{url}/#parrot"), [Example(messages, Origin("f", 1))])
    assert (item.answer, item.reference, item.finished, item.prompt) == ("hello! key Bearer k", "hi", True, "hello")


def test_an_endpoint_that_refuses_or_is_not_there_is_told_in_a_sentence(url: str) -> None:
    with pytest.raises(UsageError, match="refused with 404"):
        Endpoint.of(f"{url}#cat").answer([Message("user", "hello")], max_tokens=3)
    with pytest.raises(UsageError, match="no answer that can be read"):
        Endpoint.of("http://127.0.0.1:9/v1#x").answer([Message("user", "hello")], max_tokens=3)
    with pytest.raises(UsageError, match="needs the name of a model"):
        Endpoint.of("http://host/v1")


def test_text_without_a_question_is_refused() -> None:
    with pytest.raises(DataError, match="no question"):
        endpoint_items(Endpoint("http://x", "m"), [Passage("text", Origin("f", 1))])
