"""`/v1/completions`: a text that goes on, without a chat template."""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Sequence
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Request
from fastapi.responses import JSONResponse, Response, StreamingResponse
from pydantic import Field, StrictInt

from tunesmith.errors import RequestError
from tunesmith.jobs.names import random_text
from tunesmith.jobs.tables import Key
from tunesmith.serving.asking import Token
from tunesmith.serving.catalogue import Served
from tunesmith.web.answering import Answers, Sampling, begin
from tunesmith.web.door import Behind, Needs
from tunesmith.web.handing import handed_on
from tunesmith.web.replies import Reply, error

NEEDS = Needs("inference")
router = APIRouter(prefix="/v1", tags=["Completions"], dependencies=[Depends(NEEDS)])
Ids = Annotated[list[StrictInt], Field(min_length=1)]


class TextRequest(Sampling):
    """The body of `POST /v1/completions`."""

    prompt: str | Annotated[list[str], Field(min_length=1, max_length=64)] | Ids
    max_tokens: Annotated[StrictInt, Field(ge=1)] | None = 16
    logprobs: Annotated[StrictInt, Field(ge=0, le=5)] | None = None
    echo: bool | None = False
    best_of: Annotated[StrictInt, Field(ge=1)] | None = None
    suffix: str | None = None

    def prompts(self, served: Served) -> list[list[int]]:
        """The token ids of each prompt.

        Raises:
            RequestError: a prompt has no token, or what is asked for is not kept.
        """
        for name, value in (("echo", self.echo), ("suffix", self.suffix), ("best_of", (self.best_of or 1) > 1)):
            if value:
                raise RequestError(f"{name} is not kept here.", param=name)
        texts = [self.prompt] if isinstance(self.prompt, str) else self.prompt
        size = served.encoder.tokenizer.vocabulary_size
        if isinstance(texts[0], int):
            found = [[int(id) for id in texts]]
        else:
            found = [served.encoder.tokenizer.encode(str(text)) for text in texts]
        if not all(ids and all(0 <= id < size for id in ids) for ids in found):
            raise RequestError("prompt: expected at least one token of this model.", param="prompt")
        return found


@router.post("/completions", response_model=None)
async def complete(
    behind: Behind, request: Request, asked: TextRequest, key: Annotated[Key, Depends(NEEDS)]
) -> Response:
    """How a text goes on."""
    behind.admit(key, asked.model)
    handed = await handed_on(behind, request, asked.model)
    if handed is not None:
        return handed
    served = await asyncio.to_thread(behind.catalogue.open, asked.model)
    answers = begin(served, asked.prompts(served), asked, asked.logprobs)
    head = {"id": f"cmpl-{random_text(24)}", "object": "text_completion", "created": int(time.time())}
    head["model"] = asked.model
    if asked.stream:
        return StreamingResponse(_stream(answers, request, asked, head), media_type="text/event-stream")
    texts, tokens, ends = [""] * len(answers.asks), [list[Token]() for _ in answers.asks], ["stop"] * len(answers.asks)
    async for piece in answers.pieces(request):
        texts[piece.index] += piece.text
        tokens[piece.index] += piece.tokens
        ends[piece.index] = piece.end or ends[piece.index]
    choices = [
        _choice(i, text, ends[i], _logprobs(answers, tokens[i]) if asked.logprobs is not None else None)
        for i, text in enumerate(texts)
    ]
    return JSONResponse({**head, "choices": choices, "usage": answers.usage})


async def _stream(answers: Answers, request: Request, asked: TextRequest, head: Reply) -> AsyncIterator[str]:
    try:
        async for piece in answers.pieces(request):
            shown = _logprobs(answers, piece.tokens) if asked.logprobs is not None else None
            yield f"data: {json.dumps({**head, 'choices': [_choice(piece.index, piece.text, piece.end, shown)]})}\n\n"
    except RequestError as problem:
        yield f"data: {json.dumps(error(str(problem), 'server_error', problem.code))}\n\n"
        return
    if asked.tells_usage:
        yield f"data: {json.dumps({**head, 'choices': [], 'usage': answers.usage})}\n\n"
    yield "data: [DONE]\n\n"


def _choice(index: int, text: str, end: str | None, logprobs: Any) -> Reply:
    return {"index": index, "text": text, "finish_reason": end, "logprobs": logprobs}


def _logprobs(answers: Answers, tokens: Sequence[Token]) -> Reply:
    decode = answers.served.encoder.tokenizer.decode
    texts = [decode([token.id]) for token in tokens]
    return {
        "tokens": texts,
        "token_logprobs": [token.logprob for token in tokens],
        "top_logprobs": [{decode([id]): value for id, value in token.top} for token in tokens],
        "text_offset": [sum(map(len, texts[:i])) for i in range(len(texts))],
    }
