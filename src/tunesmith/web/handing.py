"""A request handed on to an engine outside, and its reply handed back as it comes."""

import asyncio

from fastapi import Request
from fastapi.responses import Response, StreamingResponse

from tunesmith.web.service import Service


async def handed_on(behind: Service, request: Request, model: str) -> Response | None:
    """The reply of vLLM, where the service has one; else None, and the embedded engine answers.

    Raises:
        RequestError: the model cannot be asked for there, or it is away.
    """
    if behind.vllm is None:
        return None
    await asyncio.to_thread(behind.vllm.ready, model)
    status, kind, pieces = await behind.vllm.answer(request.url.path, await request.body())
    return StreamingResponse(pieces, status, media_type=kind)
