"""Answers from any endpoint that speaks OpenAI's chat completions: a candidate to compare, or a judge.

The decision: an endpoint is named `http://host/v1#model`, its key comes from the environment and is never written down,
and one plain request a question is all that is asked of it, so any server of this kind will do.
"""

import json
import os
import urllib.error
import urllib.request
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from tunesmith.data.example import AnyExample, Example, Message
from tunesmith.errors import DataError, UsageError
from tunesmith.evaluation.item import Item

KEYS = ("TUNESMITH_ENDPOINT_KEY", "OPENAI_API_KEY")
"""Where the key of an endpoint is looked for."""
AT_ONCE = 8
SECONDS = 300.0
LARGEST = 4 << 20
"""Bytes of an answer that are read, at most."""


def is_endpoint(name: str) -> bool:
    """Whether a name is that of an endpoint."""
    return name.startswith(("http://", "https://"))


@dataclass(frozen=True, slots=True)
class Endpoint:
    """A server (`http://host/v1`) and the name of a model on it."""

    url: str
    model: str

    @classmethod
    def of(cls, name: str) -> "Endpoint":
        """The endpoint of `http://host/v1#model`.

        Raises:
            UsageError: no model is named.
        """
        url, _, model = name.partition("#")
        if not model:
            raise UsageError(f"{name}: an endpoint needs the name of a model: {url.rstrip('/')}#NAME")
        return cls(url.rstrip("/"), model)

    def answer(self, messages: Sequence[Message], *, max_tokens: int) -> tuple[str, bool]:
        """The likeliest answer (temperature 0), and whether it ended by itself.

        Raises:
            UsageError: the endpoint cannot be reached, refuses, or answers with something else.
        """
        asked = [{"role": m.role, "content": m.content} for m in messages]
        body = {"model": self.model, "messages": asked, "temperature": 0, "max_tokens": max_tokens}
        headers = {"Content-Type": "application/json"}
        key = next((os.environ[name] for name in KEYS if os.environ.get(name)), None)
        if key is not None:
            headers["Authorization"] = f"Bearer {key}"
        request = urllib.request.Request(f"{self.url}/chat/completions", json.dumps(body).encode(), headers)
        try:
            with urllib.request.urlopen(request, timeout=SECONDS) as reply:
                choice = json.loads(reply.read(LARGEST))["choices"][0]
                return str(choice["message"]["content"] or ""), choice.get("finish_reason") == "stop"
        except urllib.error.HTTPError as error:
            said = error.read(2000).decode(errors="replace")
            raise UsageError(f"{self.url}: refused with {error.code}: {said[:300]}") from error
        except (OSError, ValueError, LookupError, TypeError) as error:
            raise UsageError(f"{self.url}: no answer that can be read ({error}).") from error

    def answers(self, conversations: Sequence[Sequence[Message]], *, max_tokens: int) -> list[tuple[str, bool]]:
        """The answer to each conversation, in order, several asked for at once."""
        with ThreadPoolExecutor(AT_ONCE) as pool:
            return list(pool.map(lambda messages: self.answer(messages, max_tokens=max_tokens), conversations))


def endpoint_items(endpoint: Endpoint, examples: Sequence[AnyExample], *, max_tokens: int = 512) -> list[Item]:
    """One item for each example, answered by an endpoint; the reference is the last assistant turn.

    Raises:
        DataError: an example has no assistant turn after a question.
        UsageError: as `Endpoint.answer`.
    """
    asked = []
    for example in examples:
        messages = example.messages if isinstance(example, Example) else ()
        last = max((i for i, message in enumerate(messages) if message.role == "assistant"), default=0)
        if not last:
            raise DataError(f"{example.origin}: there is no question with an answer to compare with.")
        asked.append((messages[:last], messages[last].content))
    found = endpoint.answers([prompt for prompt, _ in asked], max_tokens=max_tokens)
    return [
        Item(answer=text, reference=reference, finished=ended, prompt=prompt[-1].content)
        for (prompt, reference), (text, ended) in zip(asked, found, strict=True)
    ]
