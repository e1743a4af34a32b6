"""`/v1/chat/completions`: messages in, the next one out, whole or as it grows."""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Sequence
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends, Request
from fastapi.responses import JSONResponse, Response, StreamingResponse
from pydantic import BaseModel, ConfigDict, Field, StrictInt

from tunesmith.data.example import Message
from tunesmith.errors import RequestError
from tunesmith.jobs.names import random_text
from tunesmith.jobs.tables import Key
from tunesmith.serving.asking import Token
from tunesmith.serving.calls import split_calls
from tunesmith.serving.constraint import Schema, call_of
from tunesmith.web.answering import Answers, Sampling, begin
from tunesmith.web.door import Behind, Needs
from tunesmith.web.handing import handed_on
from tunesmith.web.replies import Reply, error

NEEDS = Needs("inference")
Inferring = Annotated[Key, Depends(NEEDS)]
router = APIRouter(prefix="/v1/chat", tags=["Chat"], dependencies=[Depends(NEEDS)])


class Part(BaseModel):
    """A piece of a message; only text is understood."""

    model_config = ConfigDict(extra="forbid")
    type: Literal["text"]
    text: str


class Turn(BaseModel):
    """A message of the conversation."""

    model_config = ConfigDict(extra="ignore")
    role: Literal["system", "developer", "user", "assistant", "tool"]
    content: str | list[Part] | None = None
    name: str | None = None
    tool_calls: list[dict[str, Any]] | None = None
    tool_call_id: str | None = None

    def message(self) -> Message:
        """The message as the template reads it; a developer's word is the system's."""
        parts = self.content if isinstance(self.content, list) else []
        content = "".join(part.text for part in parts) if parts else self.content or ""
        role = "system" if self.role == "developer" else self.role
        assert isinstance(content, str)
        calls = tuple(self.tool_calls or ())
        return Message(role, content, tool_calls=calls, tool_call_id=self.tool_call_id, name=self.name)


class ChatRequest(Sampling):
    """The body of `POST /v1/chat/completions`."""

    messages: Annotated[list[Turn], Field(min_length=1)]
    max_completion_tokens: Annotated[StrictInt, Field(ge=1)] | None = None
    logprobs: bool | None = False
    top_logprobs: Annotated[StrictInt, Field(ge=0, le=20)] | None = None
    tools: list[dict[str, Any]] | None = None
    tool_choice: Any = None
    parallel_tool_calls: bool | None = None
    response_format: dict[str, Any] | None = None
    metadata: dict[str, str] | None = None
    store: bool | None = None
    service_tier: str | None = None

    def offered(self) -> tuple[list[dict[str, Any]], bool]:
        """The tools that may be called, and whether one of them has to be.

        Raises:
            RequestError: a tool is no function, or `tool_choice` names none that is there.
        """
        chosen, tools = self.tool_choice, self.tools or []
        if not all(isinstance((tool.get("function") or {}).get("name"), str) for tool in tools):
            raise RequestError("tools: expected functions with a name; other kinds are not kept here.", param="tools")
        if chosen in (None, "auto", "none", "required"):
            found, must = [] if chosen == "none" else tools, chosen == "required"
        else:
            names, must = _named(chosen)
            found = [tool for tool in tools if tool["function"]["name"] in names]
        if must and not found:
            raise RequestError("tool_choice: none of the tools is meant by it.", param="tool_choice")
        return found, must

    def form(self) -> tuple[Schema, str] | None:
        """The schema to which the answer has to keep, and the parameter that asks for it; None where it is free.

        Raises:
            RequestError: what is asked for is not kept, by name.
        """
        if self.top_logprobs is not None and not self.logprobs:
            raise RequestError("top_logprobs needs logprobs: true.", param="top_logprobs")
        tools, must = self.offered()
        if must:
            return call_of(tools), "tools"
        given = self.response_format or {"type": "text"}
        if given.get("type") == "text":
            return None
        if given.get("type") == "json_object":
            return {"type": "object"}, "response_format"
        described = given.get("json_schema")
        if given.get("type") != "json_schema" or not isinstance(described, dict):
            raise RequestError(
                "response_format: expected text, json_object, or json_schema with a schema.", param="response_format"
            )
        schema = described.get("schema", {"type": "object"})
        if not isinstance(schema, dict):
            raise RequestError("response_format: the schema is no object.", param="response_format")
        return schema, "response_format"


def _named(chosen: Any) -> tuple[set[str], bool]:
    """The names of the tools that a `tool_choice` object means, and whether one of them has to be called."""
    try:
        if chosen["type"] == "function":
            return {str(chosen["function"]["name"])}, True
        if chosen["type"] == "allowed_tools":
            allowed = chosen["allowed_tools"]
            return {str(tool["function"]["name"]) for tool in allowed["tools"]}, allowed["mode"] == "required"
    except (KeyError, TypeError):
        pass
    raise RequestError("tool_choice: expected none, auto, required, a function, or allowed_tools.", param="tool_choice")


@router.post("/completions", response_model=None)
async def complete(behind: Behind, request: Request, asked: ChatRequest, key: Inferring) -> Response:
    """The next message."""
    form, (tools, _) = asked.form(), asked.offered()
    behind.admit(key, asked.model)
    handed = await handed_on(behind, request, asked.model)
    if handed is not None:
        return handed
    served = await asyncio.to_thread(behind.catalogue.open, asked.model)
    kept = await asyncio.to_thread(served.grammars.of_schema, *form) if form else None
    messages = [turn.message() for turn in asked.messages]
    prompt = await asyncio.to_thread(served.encoder.prompt, messages, tools)
    limited = asked.model_copy(update={"max_tokens": asked.max_completion_tokens or asked.max_tokens})
    answers = begin(served, [prompt], limited, (asked.top_logprobs or 0) if asked.logprobs else None, kept)
    head = {"id": f"chatcmpl-{random_text(24)}", "created": int(time.time()), "model": asked.model}
    if asked.stream:
        return StreamingResponse(_stream(answers, request, asked, head, bool(tools)), media_type="text/event-stream")
    return JSONResponse(await _whole(answers, request, asked, head, bool(tools)))


async def _whole(answers: Answers, request: Request, asked: ChatRequest, head: Reply, tools: bool) -> Reply:
    texts, tokens, ends = _gathered(answers)
    async for piece in answers.pieces(request):
        texts[piece.index] += piece.text
        tokens[piece.index] += piece.tokens
        ends[piece.index] = piece.end or ends[piece.index]
    choices = []
    for index, text in enumerate(texts):
        content, calls = split_calls(text) if tools else (text, [])
        message: Reply = {"role": "assistant", "content": content, "refusal": None}
        message |= {"tool_calls": calls} if calls else {}
        shown = _logprobs(answers, tokens[index]) if asked.logprobs else None
        end = "tool_calls" if calls else ends[index] or "stop"
        choices.append({"index": index, "message": message, "finish_reason": end, "logprobs": shown})
    return {**head, "object": "chat.completion", "choices": choices, "usage": answers.usage}


async def _stream(
    answers: Answers, request: Request, asked: ChatRequest, head: Reply, tools: bool
) -> AsyncIterator[str]:
    """Server-sent events; where tools are offered, an answer is held until it is known not to be a call."""
    head = {**head, "object": "chat.completion.chunk"}
    held = [""] * len(answers.asks)

    def chunk(index: int, delta: Reply, end: str | None = None, shown: Reply | None = None) -> str:
        choice = {"index": index, "delta": delta, "finish_reason": end, "logprobs": shown}
        usage = {"usage": None} if asked.tells_usage else {}
        return _event({**head, "choices": [choice], **usage})

    for index in range(len(answers.asks)):
        yield chunk(index, {"role": "assistant", "content": "", "refusal": None})
    try:
        async for piece in answers.pieces(request):
            shown = _logprobs(answers, piece.tokens) if asked.logprobs and piece.tokens else None
            held[piece.index] += piece.text
            if piece.text and not tools:
                yield chunk(piece.index, {"content": piece.text}, shown=shown)
            if piece.end is not None and not tools:
                yield chunk(piece.index, {}, piece.end)
            if piece.end is not None and tools:
                content, calls = split_calls(held[piece.index])
                numbered = [{"index": i, **call} for i, call in enumerate(calls)]
                yield chunk(piece.index, {"tool_calls": numbered} if calls else {"content": content})
                yield chunk(piece.index, {}, "tool_calls" if calls else piece.end)
    except RequestError as problem:
        yield _event(error(str(problem), "server_error", problem.code))
        return
    if asked.tells_usage:
        yield _event({**head, "choices": [], "usage": answers.usage})
    yield "data: [DONE]\n\n"


def _gathered(answers: Answers) -> tuple[list[str], list[list[Token]], list[str | None]]:
    count = len(answers.asks)
    return [""] * count, [[] for _ in range(count)], [None] * count


def _event(value: Reply) -> str:
    return f"data: {json.dumps(value, ensure_ascii=False)}\n\n"


def _logprobs(answers: Answers, tokens: Sequence[Token]) -> Reply:
    decode = answers.served.encoder.tokenizer.decode

    def one(id: int, logprob: float) -> Reply:
        text = decode([id])
        return {"token": text, "logprob": logprob, "bytes": list(text.encode())}

    content = [
        {**one(token.id, token.logprob or 0.0), "top_logprobs": [one(id, value) for id, value in token.top]}
        for token in tokens
    ]
    return {"content": content, "refusal": None}
