"""What the log says of a request, and what it never says."""

import asyncio
import json
import logging
from collections.abc import Iterator
from typing import Any

import pytest

from tunesmith.web.logs import Lines


@pytest.fixture
def lines(caplog: pytest.LogCaptureFixture) -> Iterator[list[str]]:
    """The lines that the log grows by."""
    written, shape = list[str](), Lines()

    class Kept(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            written.append(shape.format(record))

    handler, ours = Kept(), logging.getLogger("tunesmith")
    caplog.set_level(logging.INFO)
    ours.addHandler(handler)
    yield written
    ours.removeHandler(handler)


def test_each_reply_is_one_line_under_its_own_number(client: Any, lines: list[str]) -> None:
    reply = asyncio.run(client.call("GET", "/v1/files/file-none"))
    (said,) = [json.loads(line) for line in lines]
    assert said["request_id"] == reply.headers["x-request-id"]
    assert (said["method"], said["path"], said["status"]) == ("GET", "/v1/files/file-none", 404)
    assert said["time"].endswith("Z")


def test_a_fault_of_ours_is_a_reply_with_a_number_under_which_the_log_has_its_traceback(
    client: Any, lines: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise ZeroDivisionError("unforeseen")

    monkeypatch.setattr(type(client.service.files), "get", fail)
    reply = asyncio.run(client.call("GET", "/v1/files/x"))
    assert (reply.status_code, reply.json()["error"]["code"]) == (500, "internal_error")
    assert "unforeseen" not in reply.text
    told = [json.loads(line) for line in lines]
    assert {entry["request_id"] for entry in told} == {reply.headers["x-request-id"]}
    assert any("ZeroDivisionError: unforeseen" in entry.get("exception", "") for entry in told)
    assert told[-1]["status"] == 500


def test_a_secret_is_blanked_wherever_it_comes_from(client: Any, lines: list[str]) -> None:
    asyncio.run(client.call("GET", f"/v1/files/{client.key}"))
    log = logging.getLogger("tunesmith.test")
    log.info("whsec_c2VjcmV0 and bearer letmein and postgresql://me:hunter2@host/name, not http://host:8000/x")
    try:
        raise ValueError(f"Authorization: Bearer {client.key}")
    except ValueError:
        log.exception("failed")
    said = "\n".join(lines)
    for secret in (client.key.rpartition("-")[2], "c2VjcmV0", "letmein", "hunter2"):
        assert secret not in said
    assert "http://host:8000/x" in said
    assert all(isinstance(json.loads(line), dict) for line in lines)
