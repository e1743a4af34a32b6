"""Who may come in, and what the API answers."""

import asyncio
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi.routing import APIRoute

from tunesmith.web.app import PUBLIC

DATA = "{}\n" * 20


def run(work: Any) -> Any:
    """The result of a coroutine."""
    return asyncio.run(work)


def _routes(client: Any) -> list[tuple[str, str]]:
    paths = client.app.openapi()["paths"]
    listed = [(method.upper(), path) for path, methods in paths.items() for method in methods]
    hidden = [(m, r.path) for r in client.app.routes if isinstance(r, APIRoute) for m in r.methods]
    return sorted({*listed, *hidden})


def _filled(path: str) -> str:
    for name in ("file_id", "job_id", "upload_id", "webhook_id", "model:path", "model", "permission_id"):
        path = path.replace("{" + name + "}", "x")
    return path


def test_every_route_but_the_public_ones_refuses_a_request_without_a_key(client: Any) -> None:
    routes = _routes(client)
    assert len(routes) > 25
    for method, path in routes:
        status = run(client.call(method, _filled(path), headers={"authorization": "Bearer sk-ts-x-y"})).status_code
        assert (status == 200) == (path in PUBLIC), (method, path, status)
        assert path in PUBLIC or status == 401, (method, path, status)


def test_every_route_refuses_a_key_of_another_scope(client: Any) -> None:
    keys = {scope: client.service.keys.create(scope, scope)[1] for scope in ("jobs", "inference")}
    closed = {"jobs": ("/v1/chat", "/v1/completions", "/v1/webhook", "/metrics", "/v1/fine_tuning/checkpoints"),
              "inference": ("/v1/files", "/v1/uploads", "/v1/fine_tuning", "/v1/webhook", "/metrics")}  # fmt: skip
    for scope, key in keys.items():
        for method, path in _routes(client):
            headers = {"authorization": f"Bearer {key}"}
            refused = run(client.call(method, _filled(path), headers=headers)).status_code == 403
            expected = path.startswith(closed[scope]) or (scope == "inference" and method == "DELETE")
            assert refused == expected, (scope, method, path)


def test_a_revoked_key_opens_nothing(client: Any) -> None:
    key, text = client.service.keys.create("mine", "jobs")
    headers = {"authorization": f"Bearer {text}"}
    assert run(client.call("GET", "/v1/files", headers=headers)).status_code == 200
    client.service.keys.revoke(key.id)
    assert run(client.call("GET", "/v1/files", headers=headers)).status_code == 401


def test_a_key_is_stored_only_as_a_hash(client: Any, tmp_path: Path) -> None:
    secret = client.key.rpartition("-")[2].encode()
    assert not [path for path in tmp_path.rglob("*") if path.is_file() and secret in path.read_bytes()]


@pytest.mark.parametrize(
    ("headers", "status"),
    [({"host": "evil.example"}, 421), ({"origin": "http://evil.example"}, 403), ({"origin": "http://localhost"}, 200)],
)
def test_other_hosts_and_origins_are_refused(client: Any, headers: dict[str, str], status: int) -> None:
    assert run(client.call("GET", "/v1/files", headers=headers)).status_code == status


def test_an_error_has_the_known_form_and_every_reply_a_number(client: Any) -> None:
    reply = run(client.call("GET", "/v1/files/file-none"))
    assert reply.status_code == 404
    assert set(reply.json()["error"]) == {"message", "type", "param", "code"}
    assert reply.headers["x-request-id"].startswith("req_")
    wrong = run(client.call("POST", "/v1/fine_tuning/jobs", json={"model": "base", "training_file": "f", "seeed": 1}))
    assert (wrong.status_code, wrong.json()["error"]["param"]) == (400, "seeed")


def test_too_many_requests_are_told_when_to_come_again(client: Any) -> None:
    from tunesmith.jobs.keys import Limits

    headers = {"authorization": f"Bearer {client.service.keys.create('slow', 'jobs', Limits(per_minute=1))[1]}"}
    replies = [run(client.call("GET", "/v1/files", headers=headers)) for _ in range(2)]
    assert [reply.status_code for reply in replies] == [200, 429]
    assert replies[1].headers["retry-after"] == "1"


def test_a_page_of_another_origin_is_given_no_leave_by_its_browser(client: Any) -> None:
    asked = {"origin": "http://evil.example", "access-control-request-method": "GET"}
    reply = run(client.call("OPTIONS", "/v1/files", headers=asked))
    assert reply.status_code == 403
    assert not [name for name in reply.headers if name.startswith("access-control")]


def test_what_is_measured_is_told_to_prometheus(client: Any) -> None:
    run(client.call("GET", "/v1/files/file-none"))
    made = run(client.call("POST", "/v1/files", files={"file": ("a", DATA)}, data={"purpose": "fine-tune"}))
    run(client.call("POST", "/v1/fine_tuning/jobs", json={"model": "base", "training_file": made.json()["id"]}))
    page = run(client.call("GET", "/metrics")).text.splitlines()
    assert 'tunesmith_requests_total{method="GET",status="404"} 1.0' in page
    assert 'tunesmith_jobs{status="validating_files"} 1.0' in page
    assert 'tunesmith_answers{state="waiting"} 0.0' in page
    assert "tunesmith_request_seconds_count 3.0" in page


def test_a_server_that_stops_is_alive_but_not_ready(client: Any) -> None:
    assert run(client.call("GET", "/readyz")).status_code == 200
    client.service.stop.set()
    assert [run(client.call("GET", at)).status_code for at in ("/healthz", "/readyz")] == [200, 503]


async def _journey(client: Any) -> dict[str, httpx.Response]:
    made = await client.call("POST", "/v1/files", files={"file": ("a.jsonl", DATA)}, data={"purpose": "fine-tune"})
    body = {"model": "base", "training_file": made.json()["id"], "metadata": {"team": "a"}}
    job = await client.call("POST", "/v1/fine_tuning/jobs", json=body)
    await asyncio.to_thread(client.work)
    at = f"/v1/fine_tuning/jobs/{job.json()['id']}"
    done = await client.call("GET", at)
    return {
        "OpenAIFile": made,
        "ListFilesResponse": await client.call("GET", "/v1/files"),
        "FineTuningJob": done,
        "ListPaginatedFineTuningJobsResponse": await client.call("GET", "/v1/fine_tuning/jobs?metadata[team]=a"),
        "ListFineTuningJobEventsResponse": await client.call("GET", f"{at}/events?limit=100"),
        "ListFineTuningJobCheckpointsResponse": await client.call("GET", f"{at}/checkpoints"),
        "ListModelsResponse": await client.call("GET", "/v1/models"),
        "Model": await client.call("GET", f"/v1/models/{done.json()['fine_tuned_model']}"),
        "DeleteModelResponse": await client.call(
            "DELETE", f"/v1/models/{done.json()['fine_tuned_model'].replace(':', '%3A')}"
        ),
        "DeleteFileResponse": await client.call("DELETE", f"/v1/files/{made.json()['id']}"),
        "ErrorResponse": await client.call("POST", f"{at}/cancel"),
    }


def test_every_reply_of_a_journey_is_as_the_public_description_says(client: Any, as_described: Any) -> None:
    replies = run(_journey(client))
    assert {name: reply.status_code for name, reply in replies.items() if reply.status_code != 200} == {
        "ErrorResponse": 400
    }
    for name, reply in replies.items():
        as_described(name, reply.json())


async def _upload(client: Any, md5: str | None) -> httpx.Response:
    body = {"filename": "a.jsonl", "purpose": "fine-tune", "bytes": 6, "mime_type": "text/jsonl"}
    at = f"/v1/uploads/{(await client.call('POST', '/v1/uploads', json=body)).json()['id']}"
    second = (await client.call("POST", f"{at}/parts", files={"data": b"def"})).json()["id"]
    first = (await client.call("POST", f"{at}/parts", files={"data": b"abc"})).json()["id"]
    return await client.call("POST", f"{at}/complete", json={"part_ids": [first, second], "md5": md5})


def test_parts_make_a_file_in_the_order_that_the_client_says(client: Any) -> None:
    done = run(_upload(client, "e80b5017098950fc58aad83c8c14978e")).json()
    assert done["status"] == "completed"
    assert run(client.call("GET", f"/v1/files/{done['file']['id']}/content")).content == b"abcdef"


def test_parts_with_another_checksum_are_refused(client: Any) -> None:
    reply = run(_upload(client, "0" * 32))
    assert (reply.status_code, reply.json()["error"]["code"]) == (400, "md5_mismatch")


def test_webhooks_go_to_public_addresses_only(client: Any) -> None:
    for url in ("https://127.0.0.1/", "https://localhost/", "https://169.254.169.254/", "https://[::1]/", "http://x/"):
        body = {"name": "n", "url": url, "event_types": ["fine_tuning.job.succeeded"]}
        assert run(client.call("POST", "/v1/webhook_endpoints", json=body)).status_code == 400
