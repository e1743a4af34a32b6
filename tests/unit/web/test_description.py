"""Replies beside the public description of the API: uploads, graders, permissions, webhooks, answers, errors."""

import asyncio
import json
from typing import Any

import pytest
from sqlalchemy import select

from tunesmith.jobs.tables import Delivery, Webhook

DATA = "{}\n" * 20
GRADERS: list[tuple[dict[str, Any], float]] = [
    ({"type": "string_check", "input": "{{sample.output_text}}", "reference": "yes", "operation": "eq"}, 1.0),
    ({"type": "text_similarity", "input": "{{sample.output_text}}", "reference": "yes",
      "evaluation_metric": "fuzzy_match"}, 1.0),
    ({"type": "multi", "calculate_output": "0.5 * one", "graders": {
        "type": "string_check", "name": "one", "input": "{{sample.output_text}}", "reference": "yes",
        "operation": "eq"}}, 0.5),
]  # fmt: skip
JUDGES = [
    {"type": "score_model", "model": "base", "range": [0, 10],
     "input": [{"role": "user", "content": "How good is {{sample.output_text}}?"}]},
    {"type": "label_model", "model": "base", "labels": ["good", "bad"], "passing_labels": ["good"],
     "input": [{"role": "user", "content": "{{sample.output_text}}"}]},
]  # fmt: skip


def _call(client: Any, method: str, path: str, **given: Any) -> Any:
    reply = asyncio.run(client.call(method, path, **given))
    assert reply.status_code == 200, reply.text
    return reply.json()


def _job(client: Any, **more: Any) -> dict[str, Any]:
    file = _call(client, "POST", "/v1/files", files={"file": ("a", DATA)}, data={"purpose": "fine-tune"})["id"]
    return dict(_call(client, "POST", "/v1/fine_tuning/jobs", json={"model": "base", "training_file": file, **more}))


def test_uploads_are_as_described(client: Any, as_described: Any) -> None:
    body = {"filename": "a.jsonl", "purpose": "fine-tune", "bytes": 3, "mime_type": "text/jsonl"}
    made = _call(client, "POST", "/v1/uploads", json=body)
    as_described("Upload", made)
    part = _call(client, "POST", f"/v1/uploads/{made['id']}/parts", files={"data": b"abc"})
    as_described("UploadPart", part)
    done = _call(client, "POST", f"/v1/uploads/{made['id']}/complete", json={"part_ids": [part["id"]]})
    as_described("Upload", done)
    other = _call(client, "POST", "/v1/uploads", json=body)
    as_described("Upload", _call(client, "POST", f"/v1/uploads/{other['id']}/cancel"))


@pytest.mark.parametrize(("grader", "reward"), GRADERS, ids=["string_check", "text_similarity", "multi"])
def test_graders_are_as_described(client: Any, as_described: Any, grader: dict[str, Any], reward: float) -> None:
    asked = {"grader": {"name": "g", **grader}, "model_sample": "yes", "item": {}}
    found = _call(client, "POST", "/v1/fine_tuning/alpha/graders/run", json=asked)
    as_described("RunGraderResponse", found)
    assert found["reward"] == pytest.approx(reward)
    checked = _call(client, "POST", "/v1/fine_tuning/alpha/graders/validate", json={"grader": asked["grader"]})
    as_described("ValidateGraderResponse", checked)


@pytest.mark.parametrize("grader", JUDGES, ids=lambda value: value["type"])
def test_graders_that_ask_a_model_are_as_described(talker: Any, as_described: Any, grader: dict[str, Any]) -> None:
    asked = {"grader": {"name": "g", **grader}, "model_sample": "yes", "item": {}}
    as_described("RunGraderResponse", _call(talker, "POST", "/v1/fine_tuning/alpha/graders/run", json=asked))
    multi = {"type": "multi", "name": "m", "graders": asked["grader"], "calculate_output": "2 * g"}
    checked = _call(talker, "POST", "/v1/fine_tuning/alpha/graders/validate", json={"grader": multi})
    as_described("ValidateGraderResponse", checked)


def test_permissions_are_as_described(client: Any, as_described: Any) -> None:
    job = _job(client)
    client.work()
    model = _call(client, "GET", f"/v1/fine_tuning/jobs/{job['id']}")["fine_tuned_model"]
    at = f"/v1/fine_tuning/checkpoints/{model}:ckpt-step-3/permissions"
    granted = _call(client, "POST", at, json={"project_ids": ["proj_a", "proj_b"]})
    as_described("ListFineTuningCheckpointPermissionResponse", granted)
    as_described("ListFineTuningCheckpointPermissionResponse", _call(client, "GET", at))
    gone = _call(client, "DELETE", f"{at}/{granted['data'][0]['id']}")
    as_described("DeleteFineTuningCheckpointPermissionResponse", gone)


def test_jobs_in_every_state_are_as_described(client: Any, as_described: Any) -> None:
    job = _job(client, suffix="s", seed=3, metadata={"a": "b"}, hyperparameters={"n_epochs": 2})
    as_described("FineTuningJob", job)
    as_described("FineTuningJob", _call(client, "POST", f"/v1/fine_tuning/jobs/{job['id']}/cancel"))
    file = _call(client, "POST", "/v1/files", files={"file": ("a", "BROKEN\n" * 20)}, data={"purpose": "fine-tune"})
    failing = _call(client, "POST", "/v1/fine_tuning/jobs", json={"model": "base", "training_file": file["id"]})
    client.work()
    failed = _call(client, "GET", f"/v1/fine_tuning/jobs/{failing['id']}")
    assert failed["error"]["code"] == "invalid_training_file"
    as_described("FineTuningJob", failed)


def test_messages_to_webhooks_are_as_described(client: Any, as_described: Any) -> None:
    hook = Webhook(id="we_1", created_at=1, name="n", url="https://x.example/", secret="whsec_", event_types=[
        "fine_tuning.job.succeeded", "fine_tuning.job.failed", "fine_tuning.job.cancelled"])  # fmt: skip
    with client.service.store.write() as session:
        session.add(hook)
    as_cancelled = _job(client)["id"]
    _call(client, "POST", f"/v1/fine_tuning/jobs/{as_cancelled}/cancel")
    _job(client)
    file = _call(client, "POST", "/v1/files", files={"file": ("a", "BROKEN\n" * 20)}, data={"purpose": "fine-tune"})
    _call(client, "POST", "/v1/fine_tuning/jobs", json={"model": "base", "training_file": file["id"]})
    client.work()
    with client.service.store.read() as session:
        bodies = [json.loads(body) for body in session.scalars(select(Delivery.body))]
    assert len(bodies) == 3
    for body in bodies:
        as_described(f"WebhookFineTuningJob{body['type'].rpartition('.')[2].title()}", body)


CHAT = {"model": "base", "messages": [{"role": "user", "content": "Say it."}], "max_tokens": 5, "seed": 1}
TOOL = {"type": "function", "function": {"name": "send", "parameters": {
    "type": "object", "properties": {"urgent": {"type": "boolean"}}, "required": ["urgent"],
    "additionalProperties": False}}}  # fmt: skip


@pytest.mark.parametrize(
    "more",
    [{}, {"n": 2, "stop": ["e"]}, {"logprobs": True, "top_logprobs": 2},
     {"tools": [TOOL], "tool_choice": "required", "max_tokens": 60}],
    ids=["plain", "several", "logprobs", "tools"],
)  # fmt: skip
def test_answers_are_as_described(talker: Any, as_described: Any, more: dict[str, Any]) -> None:
    as_described("CreateChatCompletionResponse", _call(talker, "POST", "/v1/chat/completions", json={**CHAT, **more}))
    asked = {**CHAT, **more, "stream": True, "stream_options": {"include_usage": True}}
    chunks = _chunks(talker, "/v1/chat/completions", asked)
    assert chunks[-1]["usage"]["completion_tokens"] > 0
    for chunk in chunks:
        as_described("CreateChatCompletionStreamResponse", chunk)


@pytest.mark.parametrize("more", [{}, {"logprobs": 2, "n": 2}], ids=["plain", "logprobs"])
def test_plain_completions_are_as_described(talker: Any, as_described: Any, more: dict[str, Any]) -> None:
    asked = {"model": "base", "prompt": ["Once", "upon"], "max_tokens": 5, "seed": 1, **more}
    as_described("CreateCompletionResponse", _call(talker, "POST", "/v1/completions", json=asked))
    usage = {"stream": True, "stream_options": {"include_usage": True}}
    for chunk in _chunks(talker, "/v1/completions", {**asked, **usage}):
        for choice in chunk["choices"]:  # the description has no form for pieces, whose end is still open
            choice["finish_reason"] = choice["finish_reason"] or "stop"
        as_described("CreateCompletionResponse", chunk)


def _chunks(talker: Any, path: str, asked: dict[str, Any]) -> list[Any]:
    lines = asyncio.run(talker.call("POST", path, json=asked)).text.splitlines()
    assert lines[-2:] == ["data: [DONE]", ""]
    return [json.loads(line[6:]) for line in lines if line.startswith("data: {")]
