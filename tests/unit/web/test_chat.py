"""Chat over HTTP with a small random model: forms, tools, streams, limits."""

import asyncio
import json
from typing import Any

import pytest
from jsonschema import validate
from unit.web.conftest import Client

SCHEMA = {
    "type": "object",
    "properties": {"urgent": {"type": "boolean"}, "label": {"enum": ["a", "b"]}},
    "required": ["urgent", "label"],
    "additionalProperties": False,
}
TOOLS = [
    {"type": "function", "function": {"name": name, "parameters": SCHEMA}} for name in ("look_up", "send")
]  # fmt: skip


def _chat(talker: Client, **asked: Any) -> Any:
    body = {"model": "base", "messages": [{"role": "user", "content": "Say it."}], "max_tokens": 60, "seed": 1, **asked}
    return asyncio.run(talker.call("POST", "/v1/chat/completions", json=body))


@pytest.mark.parametrize("temperature", [0, 1.5])
def test_an_answer_keeps_to_its_schema_whatever_the_model_is(talker: Client, temperature: float) -> None:
    form = {"type": "json_schema", "json_schema": {"name": "ticket", "schema": SCHEMA, "strict": True}}
    reply = _chat(talker, response_format=form, temperature=temperature, n=3).json()
    for choice in reply["choices"]:
        assert choice["finish_reason"] == "stop"
        validate(json.loads(choice["message"]["content"]), SCHEMA)


def test_a_streamed_answer_keeps_to_its_schema(talker: Client) -> None:
    form = {"type": "json_schema", "json_schema": {"name": "ticket", "schema": SCHEMA}}
    lines = _chat(talker, response_format=form, stream=True).text.splitlines()
    events = [json.loads(line[6:]) for line in lines if line.startswith("data: {")]
    validate(json.loads("".join(e["choices"][0]["delta"].get("content", "") for e in events)), SCHEMA)


def test_any_json_object_can_be_asked_for(talker: Client) -> None:
    choice = _chat(talker, response_format={"type": "json_object"}, max_tokens=400).json()["choices"][0]
    if choice["finish_reason"] == "stop":  # a random model may fill its room before it closes the object
        assert isinstance(json.loads(choice["message"]["content"]), dict)
    assert choice["message"]["content"].startswith("{")


@pytest.mark.parametrize(
    ("chosen", "names"),
    [
        ("required", {"look_up", "send"}),
        ({"type": "function", "function": {"name": "send"}}, {"send"}),
        ({"type": "allowed_tools", "allowed_tools": {"mode": "required", "tools": [TOOLS[0]]}}, {"look_up"}),
    ],
)
def test_a_tool_that_has_to_be_called_is_called(talker: Client, chosen: Any, names: set[str]) -> None:
    choice = _chat(talker, tools=TOOLS, tool_choice=chosen).json()["choices"][0]
    (call,) = choice["message"]["tool_calls"]
    assert (choice["finish_reason"], choice["message"]["content"]) == ("tool_calls", None)
    assert call["function"]["name"] in names
    validate(json.loads(call["function"]["arguments"]), SCHEMA)


@pytest.mark.parametrize(
    ("more", "param"),
    [
        ({"response_format": {"type": "grammar"}}, "response_format"),
        ({"response_format": {"type": "json_schema"}}, "response_format"),
        ({"response_format": {"type": "json_schema", "json_schema": {"schema": {"type": "oddity"}}}},
         "response_format"),
        ({"tool_choice": "required"}, "tool_choice"),
        ({"tools": TOOLS, "tool_choice": {"type": "function", "function": {"name": "none"}}}, "tool_choice"),
        ({"tools": TOOLS, "tool_choice": {"type": "custom", "custom": {"name": "x"}}}, "tool_choice"),
        ({"tools": [{"type": "custom", "custom": {"name": "x"}}]}, "tools"),
        ({"top_logprobs": 3}, "top_logprobs"),
    ],
)  # fmt: skip
def test_what_is_not_kept_is_refused_by_name(talker: Client, more: dict[str, Any], param: str) -> None:
    reply = _chat(talker, **more)
    assert (reply.status_code, reply.json()["error"]["param"]) == (400, param)


class _Gone:
    """A request whose client went away."""

    async def is_disconnected(self) -> bool:
        """That it did."""
        return True


def test_a_client_that_goes_away_frees_its_place_while_tokens_still_come(
    talker: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    from tunesmith.web import answering

    monkeypatch.setattr(answering, "LOOK", 0.01)

    async def ask() -> tuple[int, list[Any]]:
        served = talker.service.catalogue.open("base")
        answers = answering.begin(served, [[40, 41]], answering.Sampling(model="base", max_tokens=400), None)
        pieces = [piece async for piece in answers.pieces(_Gone())]  # type: ignore[arg-type]
        return len(pieces), answers.asks

    count, asks = asyncio.run(ask())
    assert count < 399
    assert all(one.cancelled for one in asks)
