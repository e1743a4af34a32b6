"""An endpoint that speaks chat completions answers as a model does."""

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest
from chat_server import chat_server

from tunesmith.data.example import Example, Message, Origin, Passage
from tunesmith.errors import DataError, UsageError
from tunesmith.evaluation.benchmark import Asked
from tunesmith.evaluation.endpoint import TRIES, Endpoint, endpoint_items, endpoint_task_items, is_endpoint
from tunesmith.evaluation.task import Task
from tunesmith.generation.settings import GenerationSettings

SHORT = GenerationSettings(max_new_tokens=3)


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
    (item,) = endpoint_items(Endpoint.of(f"{url}/#parrot"), [Example(messages, Origin("f", 1))], SHORT)
    assert (item.answer, item.reference, item.finished, item.prompt) == ("hello! key Bearer k", "hi", True, "hello")


def test_an_endpoint_that_refuses_or_is_not_there_is_told_in_a_sentence(url: str) -> None:
    with pytest.raises(UsageError, match="refused with 404"):
        Endpoint.of(f"{url}#cat").answer([Message("user", "hello")], SHORT)
    with pytest.raises(UsageError, match="no answer that can be read"):
        Endpoint.of("http://127.0.0.1:9/v1#x").answer([Message("user", "hello")], SHORT)
    with pytest.raises(UsageError, match="needs the name of a model"):
        Endpoint.of("http://host/v1")


class Busy(BaseHTTPRequestHandler):
    """Answers what is in `replies`, one after the other: a status with headers, or `cut` for a connection that ends."""

    replies: list[tuple[int, dict[str, str]] | str]

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        said = type(self).replies.pop(0)
        if isinstance(said, str):
            self.close_connection = True
            return
        status, headers = said
        body = b'{"choices": [{"message": {"content": "done"}, "finish_reason": "length"}]}'
        self.send_response_only(status)
        for name, value in {**headers, "Content-Length": str(len(body))}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        return


def asked(*replies: tuple[int, dict[str, str]] | str) -> tuple[str, list[float]]:
    """The answer (or why there is none) of a server that replies so, and the seconds waited on the way."""
    handler = type("Replies", (Busy,), {"replies": list(replies)})
    waited: list[float] = []
    with HTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        endpoint = Endpoint(f"http://127.0.0.1:{server.server_address[1]}/v1", "m", waited.append)
        try:
            said = endpoint.answer([Message("user", "hello")], SHORT)[0]
        except UsageError as error:
            said = str(error)
        server.shutdown()
        thread.join()
    return said, waited


def test_a_server_that_is_busy_is_asked_again_after_growing_waits() -> None:
    assert asked((429, {}), (503, {}), "cut", (500, {}), (200, {})) == ("done", [1.0, 2.0, 4.0, 8.0])


def test_the_wait_that_a_server_asks_for_is_kept() -> None:
    dates = {"Date": "Mon, 23 Nov 2026 10:00:00 GMT", "Retry-After": "Mon, 23 Nov 2026 10:00:50 GMT"}
    assert asked((429, {"Retry-After": "7"}), (503, dates), (429, {"Retry-After": "soon"}), (200, {})) == (
        "done", [7.0, 50.0, 4.0],
    )  # fmt: skip


def test_the_tries_are_bounded_and_what_cannot_help_is_not_tried_again() -> None:
    said, waited = asked(*[(429, {})] * TRIES)
    assert "asked 7 times: refused with 429" in said
    assert waited == [1.0, 2.0, 4.0, 8.0, 16.0, 32.0]
    said, waited = asked((429, {"Retry-After": "3600"}))
    assert "refused with 429" in said
    assert waited == []
    said, waited = asked((400, {}))
    assert "refused with 400" in said
    assert waited == []


def test_text_without_a_question_is_refused() -> None:
    with pytest.raises(DataError, match="no question"):
        endpoint_items(Endpoint("http://x", "m"), [Passage("text", Origin("f", 1))], SHORT)


def test_a_task_of_written_answers_is_asked_as_it_says_and_cut_where_it_says() -> None:
    fields = {"name": "sums", "version": 1, "says": "s", "data": "d", "prompt": "p", "answer": "a"}
    asked = [Asked("", f"{i} + 1 =", (), str(i + 1)) for i in range(2)]
    with chat_server(lambda body: f" {body['messages'][-1]['content'][0]}\nQ: and?") as server:
        endpoint = Endpoint.of(f"{server.url}#m")
        once = endpoint_task_items(endpoint, Task(**fields, until=("\n",), max_new_tokens=9), asked)
        (first, second) = sorted(server.asked, key=lambda body: body["messages"][0]["content"])
        server.asked.clear()
        twice = endpoint_task_items(endpoint, Task(**fields, samples=2, keep_spaces=True, until=()), asked)
        assert sorted(body["seed"] for body in server.asked) == [0, 1, 2, 3]
        assert {body["temperature"] for body in server.asked} == {0.8}
        with pytest.raises(UsageError, match="sums is scored by the likelihood of its options"):
            endpoint_task_items(endpoint, Task(**fields, options=("1", "2")), asked)
    assert [(item.answer, item.reference, item.finished) for item in once] == [("0", "1", True), ("1", "2", True)]
    assert first["messages"] == [{"role": "user", "content": "0 + 1 ="}]
    assert (second["max_tokens"], second["temperature"], "seed" in second) == (9, 0, False)
    assert [item.answer for item in twice] == [" 0\nQ: and?"] * 2 + [" 1\nQ: and?"] * 2
