"""Answers as text, for every endpoint that generates.

The decision: the engine speaks in tokens from its own thread; here they arrive in the event loop, become text, and end
at stop sequences. Whoever goes away in the middle frees its place at the next token.
"""

import asyncio
import secrets
import time
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any

from fastapi import Request
from pydantic import BaseModel, ConfigDict, Field, StrictInt

from tunesmith.errors import RequestError
from tunesmith.generation.settings import GenerationSettings
from tunesmith.serving.asking import Ask, End, Token
from tunesmith.serving.catalogue import Served
from tunesmith.serving.constraint import Constraint
from tunesmith.serving.writer import Writer

LOOK = 0.5
"""Seconds between two looks whether the client is still there."""


class Sampling(BaseModel):
    """What chat and plain completions have in common."""

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)
    model: str
    n: Annotated[StrictInt, Field(ge=1, le=16)] | None = 1
    stop: str | Annotated[list[str], Field(max_length=4)] | None = None
    seed: StrictInt | None = None
    stream: bool | None = False
    stream_options: dict[str, Any] | None = None
    temperature: Annotated[float, Field(ge=0, le=2)] | None = 1.0
    top_p: Annotated[float, Field(ge=0, le=1)] | None = 1.0
    max_tokens: Annotated[StrictInt, Field(ge=1)] | None = None
    frequency_penalty: Annotated[float, Field(ge=-2, le=2)] | None = 0.0
    presence_penalty: Annotated[float, Field(ge=-2, le=2)] | None = 0.0
    logit_bias: dict[str, Annotated[float, Field(ge=-100, le=100)]] | None = None
    user: str | None = None

    @property
    def stops(self) -> list[str]:
        """The stop sequences."""
        return [self.stop] if isinstance(self.stop, str) else self.stop or []

    @property
    def tells_usage(self) -> bool:
        """Whether a stream ends with its usage."""
        return bool((self.stream_options or {}).get("include_usage"))

    def bias(self) -> dict[int, float]:
        """`logit_bias` by token id.

        Raises:
            RequestError: a name is no token id.
        """
        try:
            return {int(name): value for name, value in (self.logit_bias or {}).items()}
        except ValueError as error:
            raise RequestError("logit_bias: expected token ids.", param="logit_bias") from error


@dataclass(frozen=True, slots=True)
class Piece:
    """What one answer grew by: text, its tokens, and at the end why it ended."""

    index: int
    text: str
    tokens: tuple[Token, ...] = ()
    end: str | None = None


@dataclass(slots=True)
class Answers:
    """The answers to one or more prompts under way."""

    served: Served
    asks: list[Ask]
    writers: list[Writer]
    queue: "asyncio.Queue[tuple[int, Token | End]]" = field(default_factory=asyncio.Queue)

    @property
    def usage(self) -> dict[str, Any]:
        """How many tokens were read and written."""
        prompts = {id(ask.prompt): ask for ask in self.asks}
        read, written = sum(len(a.prompt) for a in prompts.values()), sum(len(a.ids) for a in self.asks)
        return {
            "prompt_tokens": read, "completion_tokens": written, "total_tokens": read + written,
            "prompt_tokens_details": {"cached_tokens": sum(a.cached for a in prompts.values()), "audio_tokens": 0},
        }  # fmt: skip

    async def pieces(self, request: Request) -> AsyncIterator[Piece]:
        """The answers, piece by piece as they come; ends early when the client is gone.

        Raises:
            RequestError: the engine failed (500).
        """
        left, held = set(range(len(self.asks))), dict[int, list[Token]]()
        looked = time.monotonic()
        try:
            while left:
                if time.monotonic() - looked >= LOOK:  # also while tokens come fast: an answer may be long
                    looked = time.monotonic()
                    if await request.is_disconnected():
                        return
                try:
                    index, heard = await asyncio.wait_for(self.queue.get(), LOOK)
                except TimeoutError:
                    continue
                if index not in left:
                    continue
                writer = self.writers[index]
                if isinstance(heard, Token):
                    held.setdefault(index, []).append(heard)
                    text = writer.add(heard.id)
                    if text:
                        yield Piece(index, text, tuple(held.pop(index)))
                    if writer.stopped:
                        self.asks[index].cancelled = True
                        left.discard(index)
                        yield Piece(index, "", end="stop")
                    continue
                if heard.reason == "error":
                    raise RequestError(f"The answer failed: {heard.message}", status=500, code="generation_failed")
                left.discard(index)
                yield Piece(index, writer.rest(), tuple(held.pop(index, ())), heard.reason)
        finally:
            for ask in self.asks:
                ask.cancelled = True


def begin(
    served: Served,
    prompts: Sequence[Sequence[int]],
    asked: Sampling,
    logprobs: int | None,
    form: Constraint | None = None,
) -> Answers:
    """The answers to `prompts`, `n` of each, under way; each keeps to `form`.

    Raises:
        RequestError: a prompt is too long, or too many requests wait.
    """
    loop = asyncio.get_running_loop()
    found = Answers(served, [], [])
    seed = asked.seed if asked.seed is not None else secrets.randbits(31)
    settings = GenerationSettings(
        max_new_tokens=asked.max_tokens or served.engine.context,
        temperature=1.0 if asked.temperature is None else asked.temperature,
        top_p=min(max(1.0 if asked.top_p is None else asked.top_p, 1e-6), 1.0),
        seed=seed % 2**63,
    )

    def teller(index: int) -> Any:
        return lambda heard: loop.call_soon_threadsafe(found.queue.put_nowait, (index, heard))

    for prompt in prompts:
        for number in range(asked.n or 1):
            ask = Ask(
                prompt, served.adapter, settings, served.encoder.stop_ids, teller(len(found.asks)), number=number,
                logprobs=logprobs, bias=asked.bias(), frequency_penalty=asked.frequency_penalty or 0.0,
                presence_penalty=asked.presence_penalty or 0.0, form=None if form is None else form.fresh(),
            )  # fmt: skip
            found.asks.append(ask)
            found.writers.append(Writer(served.encoder.tokenizer.decode, asked.stops))
    served.engine.ask(found.asks)
    return found
