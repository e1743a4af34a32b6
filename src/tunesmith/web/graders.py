"""`/v1/fine_tuning/alpha/graders`: try a grader on one answer, or only see whether it could be tried."""

import time
from collections.abc import Sequence
from typing import Annotated, Any

from fastapi import APIRouter, Depends
from pydantic import BaseModel, ConfigDict

from tunesmith.data.example import Message
from tunesmith.generation.settings import GenerationSettings
from tunesmith.jobs.tables import Key
from tunesmith.serving.answer import Written, answer
from tunesmith.serving.constraint import Schema
from tunesmith.serving.graders import FLAGS, Desk, Grader, Outcome
from tunesmith.web.door import Behind, Needs
from tunesmith.web.replies import Reply
from tunesmith.web.service import Service

NEEDS = Needs("jobs")
Asker = Annotated[Key, Depends(NEEDS)]
router = APIRouter(prefix="/v1/fine_tuning/alpha/graders", tags=["Graders"], dependencies=[Depends(NEEDS)])


class Tried(BaseModel):
    """The body of `POST …/run`."""

    model_config = ConfigDict(extra="forbid")
    grader: Grader
    model_sample: str
    item: dict[str, Any] = {}


class Checked(BaseModel):
    """The body of `POST …/validate`."""

    model_config = ConfigDict(extra="forbid")
    grader: Grader


@router.post("/run")
def run(behind: Behind, asked: Tried, key: Asker) -> Reply:
    """The grade of one answer."""
    desk = _desk(behind, key)
    desk.refuse(asked.grader)
    began = time.perf_counter()
    outcome = desk.run(asked.grader, asked.model_sample, asked.item)
    return _told(asked.grader, outcome, time.perf_counter() - began)


@router.post("/validate")
def validate(behind: Behind, asked: Checked, key: Asker) -> Reply:
    """The grader, if it can be run here."""
    _desk(behind, key).refuse(asked.grader)
    return {"grader": asked.grader.model_dump(mode="json", exclude_none=True)}


def _desk(behind: Service, key: Key) -> Desk:
    closed = behind.permissions.closed_to(key.project)

    def knows(model: str) -> bool:
        return behind.vllm is None and model not in closed and behind.catalogue.knows(model)

    def ask(model: str, messages: Sequence[Message], schema: Schema, settings: GenerationSettings) -> Written:
        return answer(behind.catalogue, model, messages, schema, settings)

    return Desk(ask, knows, behind.wanted.python_graders)


def _told(grader: Any, outcome: Outcome, seconds: float) -> Reply:
    model = getattr(grader, "model", None)
    errors: Reply = {flag: flag in outcome.faults for flag in FLAGS}
    for kind in ("python_grader_runtime_error", "model_grader_server_error"):
        errors[f"{kind}_details"] = outcome.details if kind in outcome.faults else None
    errors["python_grader_server_error_type"] = None
    return {
        "reward": outcome.reward,
        "metadata": {
            "name": grader.name, "type": grader.type, "errors": errors, "execution_time": seconds,
            "scores": outcome.parts, "token_usage": sum(outcome.tokens.values()) or None, "sampled_model_name": model,
        },
        "sub_rewards": outcome.parts if grader.type == "multi" else {},
        "model_grader_token_usage_per_model": outcome.tokens,
    }  # fmt: skip
