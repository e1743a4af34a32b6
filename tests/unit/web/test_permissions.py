"""Which project may use which tuned model."""

import asyncio
from typing import Any

import pytest

from tunesmith.jobs.keys import Limits
from tunesmith.jobs.mirror import missing

DATA = "{}\n" * 20


def run(work: Any) -> Any:
    """The result of a coroutine."""
    return asyncio.run(work)


def _key(client: Any, scope: str, project: str | None) -> dict[str, str]:
    key = client.service.keys.create(f"{scope} of {project}", scope, Limits(project=project))[1]
    return {"authorization": f"Bearer {key}"}


def _tuned(client: Any, headers: dict[str, str]) -> str:
    file = run(client.call("POST", "/v1/files", files={"file": ("a", DATA)}, data={"purpose": "fine-tune"})).json()[
        "id"
    ]
    body = {"model": "base", "training_file": file}
    job = run(client.call("POST", "/v1/fine_tuning/jobs", json=body, headers=headers)).json()["id"]
    client.work()
    return str(run(client.call("GET", f"/v1/fine_tuning/jobs/{job}")).json()["fine_tuned_model"])


def test_a_model_is_open_to_its_project_and_to_those_that_it_is_permitted_to(client: Any) -> None:
    mine, theirs = _key(client, "jobs", "proj_a"), _key(client, "inference", "proj_b")
    model = _tuned(client, mine)
    at = f"/v1/fine_tuning/checkpoints/{model}:ckpt-step-3/permissions"

    def seen(headers: dict[str, str]) -> set[str]:
        return {row["id"] for row in run(client.call("GET", "/v1/models", headers=headers)).json()["data"]}

    every = {"base", model, f"{model}:ckpt-step-3", f"{model}:ckpt-step-6"}
    assert (seen(mine), seen({}), seen(theirs)) == (every, every, {"base"})
    asked = {"model": f"{model}:ckpt-step-3", "messages": [{"role": "user", "content": "x"}]}
    refused = run(client.call("POST", "/v1/chat/completions", json=asked, headers=theirs))
    assert (refused.status_code, refused.json()["error"]["code"]) == (404, "model_not_found")

    assert run(client.call("POST", at, json={"project_ids": ["proj_b"]}, headers=mine)).status_code == 403
    granted = run(client.call("POST", at, json={"project_ids": ["proj_b", "proj_b"]})).json()
    (row,) = granted["data"]
    assert (row["object"], row["project_id"]) == ("checkpoint.permission", "proj_b")
    assert seen(theirs) == {"base", f"{model}:ckpt-step-3"}
    assert run(client.call("GET", f"{at}?project_id=proj_b")).json()["data"] == [row]
    gone = run(client.call("DELETE", f"{at}/{row['id']}"))
    assert gone.json() == {"id": row["id"], "object": "checkpoint.permission", "deleted": True}
    assert seen(theirs) == {"base"}
    assert run(client.call("DELETE", f"{at}/{row['id']}")).status_code == 404


def test_a_job_cannot_start_from_a_model_of_another_project(client: Any) -> None:
    model = _tuned(client, _key(client, "jobs", "proj_a"))
    body = {"model": model, "training_file": "file-x"}
    reply = run(client.call("POST", "/v1/fine_tuning/jobs", json=body, headers=_key(client, "jobs", "proj_b")))
    assert reply.status_code == 404


@pytest.mark.parametrize("environment", [{}, {"WANDB_MODE": "online"}])
def test_an_integration_that_cannot_be_told_is_refused_with_the_reason(
    client: Any, environment: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("WANDB_API_KEY", raising=False)
    monkeypatch.delenv("WANDB_MODE", raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    body = {"model": "base", "training_file": "f", "integrations": [{"type": "wandb", "wandb": {"project": "p"}}]}
    error = run(client.call("POST", "/v1/fine_tuning/jobs", json=body)).json()["error"]
    assert (error["code"], error["param"]) == ("unsupported_integration", "integrations")
    assert missing() in error["message"]
