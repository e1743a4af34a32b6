"""Webhooks: signed, sent until they are taken, and never to an address inside."""

import hashlib
import hmac
import json
import socket
import threading
from base64 import b64decode, b64encode
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

import pytest

from tunesmith.errors import RequestError
from tunesmith.jobs import webhooks
from tunesmith.jobs.webhooks import TRIES, Webhooks, public_address

EVENT = "fine_tuning.job.succeeded"


def _found(*addresses: str) -> Any:
    return lambda *_, **__: [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, 443)) for address in addresses]


@pytest.fixture
def hooks(bench: Any, monkeypatch: pytest.MonkeyPatch) -> Webhooks:
    """The webhooks of a service that believes every name to be public."""
    monkeypatch.setattr(webhooks, "public_address", lambda url: ("203.0.113.1", 443))
    return Webhooks(bench.store)


@pytest.mark.parametrize(
    "addresses",
    [("127.0.0.1",), ("10.1.2.3",), ("169.254.169.254",), ("192.168.0.1",), ("100.64.0.1",), ("::1",), ("fd00::1",),
     ("::ffff:127.0.0.1",), ("0.0.0.0",), ("8.8.8.8", "10.0.0.1"), ()],
)  # fmt: skip
def test_a_name_that_leads_inside_is_refused(addresses: tuple[str, ...]) -> None:
    with pytest.raises(RequestError):
        public_address("https://hook.example/x", _found(*addresses))
    assert public_address("https://hook.example/x", _found("8.8.8.8")) == ("8.8.8.8", 443)


def test_an_ended_job_is_told_of_with_a_signature_that_clients_can_check(bench: Any, hooks: Webhooks) -> None:
    hook = hooks.add("mine", "https://hook.example/x", [EVENT])
    job = bench.create()
    worker = bench.worker()
    while worker.work_once():
        continue
    sent: list[tuple[str, bytes, dict[str, str]]] = []
    assert hooks.send_due(lambda *message: sent.append(message) or True) == 1
    ((url, body, headers),) = sent
    assert url == "https://hook.example/x"
    assert json.loads(body)["data"] == {"id": job.id}
    signed = f"{headers['webhook-id']}.{headers['webhook-timestamp']}.".encode() + body
    mac = hmac.new(b64decode(hook.secret.removeprefix("whsec_")), signed, hashlib.sha256).digest()
    assert headers["webhook-signature"] == f"v1,{b64encode(mac).decode()}"
    bench.clock.now += 10**6
    assert hooks.send_due(lambda *_: True) == 0  # what was taken does not come again


def test_what_is_not_taken_comes_again_later_and_is_given_up_in_the_end(bench: Any, hooks: Webhooks) -> None:
    hooks.add("mine", "https://hook.example/x", ["fine_tuning.job.cancelled"])
    bench.jobs.cancel(bench.create().id)
    tries = list[str]()

    def refuse(url: str, body: bytes, headers: dict[str, str]) -> bool:
        tries.append(headers["webhook-id"])
        return False

    assert hooks.send_due(refuse) == 0
    assert hooks.send_due(refuse) == 0
    assert len(tries) == 1  # not at once
    for _ in range(2 * TRIES):
        bench.clock.now += 10**6
        hooks.send_due(refuse)
    assert len(tries) == TRIES
    assert len(set(tries)) == 1  # the same message each time, by its id


class _Receiver(BaseHTTPRequestHandler):
    got: list[tuple[str, bytes]] = []  # noqa: RUF012

    def do_POST(self) -> None:
        self.got.append((self.headers["host"], self.rfile.read(int(self.headers["content-length"]))))
        self.send_response(302 if self.path == "/moved" else 204)
        self.send_header("location", "/elsewhere")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Nothing."""


@pytest.fixture
def receiver(monkeypatch: pytest.MonkeyPatch) -> Iterator[int]:
    """A receiver on this machine, which only this test may send to, without TLS."""
    server = HTTPServer(("127.0.0.1", 0), _Receiver)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    port = server.server_address[1]
    monkeypatch.setattr(webhooks, "public_address", lambda url: ("127.0.0.1", port))
    yield port
    server.shutdown()
    thread.join()
    server.server_close()


def test_a_message_reaches_its_receiver_at_the_address_that_was_proved(receiver: int) -> None:
    _Receiver.got.clear()
    assert webhooks.post("http://hook.example/x", b"{}", {"content-type": "application/json"})
    assert not webhooks.post("http://hook.example/moved", b"{}", {})  # nobody is followed elsewhere
    assert _Receiver.got == [("hook.example", b"{}")] * 2


def test_a_receiver_that_is_away_is_no_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(webhooks, "public_address", lambda url: ("127.0.0.1", 9))
    assert not webhooks.post("http://hook.example/x", b"{}", {})
