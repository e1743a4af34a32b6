"""Answers from any endpoint that speaks OpenAI's chat completions: a candidate to compare, or a judge.

The decision: an endpoint is named `http://host/v1#model`, its key comes from the environment and is never written down,
and one plain request a question is all that is asked of it, so any server of this kind will do. What a server may
answer in a moment (it is busy, it took too long) is asked again by the rules of OpenAI's client, with longer waits,
because the limits of most servers are those of a minute; that client itself is not needed, and cannot be told to wait
otherwise.
"""

import http.client
import json
import os
import socket
import ssl
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from email.message import Message as EmailMessage
from email.utils import parsedate_to_datetime

from tunesmith.data.example import AnyExample, Example, Message
from tunesmith.errors import DataError, UsageError
from tunesmith.evaluation.benchmark import Asked, item_of, repeated, settings_of
from tunesmith.evaluation.item import Item
from tunesmith.evaluation.task import Task
from tunesmith.generation.settings import GenerationSettings

KEYS = ("TUNESMITH_ENDPOINT_KEY", "OPENAI_API_KEY")
"""Where the key of an endpoint is looked for."""
AT_ONCE = 8
SECONDS = 300.0
LARGEST = 4 << 20
"""Bytes of an answer that are read, at most."""
TRIES = 7
"""How often a question is asked, at most; between the tries stand 1, 2, 4, … seconds, a minute in all."""
LONGEST_WAIT = 120.0
"""Seconds that a server may ask us to wait (Retry-After); one that asks for more is not waited for."""
_IN_A_MOMENT = (408, 409, 429)


def is_endpoint(name: str) -> bool:
    """Whether a name is that of an endpoint."""
    return name.startswith(("http://", "https://"))


@dataclass(frozen=True, slots=True)
class Endpoint:
    """A server (`http://host/v1`) and the name of a model on it; `wait` passes seconds between two tries."""

    url: str
    model: str
    wait: Callable[[float], object] = field(default=time.sleep, compare=False, repr=False)

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

    def answer(self, messages: Sequence[Message], settings: GenerationSettings) -> tuple[str, bool]:
        """The answer, and whether it ended by itself. The server decides how it draws where it is asked to draw.

        A server that is busy (429, 408, 409, 5xx) or took too long is asked again, `TRIES` times in all, after as long
        as it says (Retry-After) or twice as long each time.

        Raises:
            UsageError: the endpoint cannot be reached, refuses, or answers with something else.
        """
        body: dict[str, object] = {
            "model": self.model, "messages": [{"role": m.role, "content": m.content} for m in messages],
            "max_tokens": settings.max_new_tokens, "temperature": settings.temperature,
        }  # fmt: skip
        if settings.temperature:
            body |= {"top_p": settings.top_p, "seed": settings.seed}
        request = self._request(body)
        for number in range(1, TRIES + 1):
            try:
                with urllib.request.urlopen(request, timeout=SECONDS) as reply:
                    choice = json.loads(reply.read(LARGEST))["choices"][0]
                    return str(choice["message"]["content"] or ""), choice.get("finish_reason") == "stop"
            except (OSError, http.client.HTTPException, ValueError, LookupError, TypeError, AttributeError) as error:
                what, seconds = _said(error), _pause(error, number)
                if seconds is None:
                    tries = f"asked {number} times: " if number > 1 else ""
                    raise UsageError(f"{self.url}: {tries}{what}") from error
            self.wait(seconds)
        raise AssertionError("the last try returns or raises")

    def _request(self, body: Mapping[str, object]) -> urllib.request.Request:
        headers = {"Content-Type": "application/json"}
        key = next((os.environ[name] for name in KEYS if os.environ.get(name)), None)
        if key is not None:
            headers["Authorization"] = f"Bearer {key}"
        return urllib.request.Request(f"{self.url}/chat/completions", json.dumps(body).encode(), headers)

    def answers(
        self, conversations: Sequence[Sequence[Message]], settings: GenerationSettings
    ) -> list[tuple[str, bool]]:
        """The answer to each conversation, in order, several asked for at once; each draws by a seed of its own."""
        seeds = [settings.model_copy(update={"seed": settings.seed + i}) for i in range(len(conversations))]
        with ThreadPoolExecutor(AT_ONCE) as pool:
            return list(pool.map(self.answer, conversations, seeds))


def _said(error: Exception) -> str:
    """What went wrong, with the server's own words; its reply is read and closed."""
    if not isinstance(error, urllib.error.HTTPError):
        return f"no answer that can be read ({error!r})."
    with error:
        try:
            text = error.read(2000).decode(errors="replace")
        except (OSError, http.client.HTTPException) as cut:
            text = f"({cut!r})"
    return f"refused with {error.code}: {text[:300]}"


def _pause(error: Exception, number: int) -> float | None:
    """Seconds to wait after try `number` before the next; None where it would not help, or takes too long."""
    if number == TRIES or not _may_pass(error):
        return None
    asked = _retry_after(error.headers) if isinstance(error, urllib.error.HTTPError) else None
    if asked is None:
        return float(2 ** (number - 1))
    return asked if asked <= LONGEST_WAIT else None


def _may_pass(error: Exception) -> bool:
    """Whether the same question may be answered in a moment: not where it is refused, nor where nobody listens."""
    if isinstance(error, urllib.error.HTTPError):
        return error.code in _IN_A_MOMENT or error.code >= 500
    absent = isinstance(getattr(error, "reason", error), ConnectionRefusedError | socket.gaierror | ssl.SSLError)
    return isinstance(error, OSError | http.client.HTTPException) and not absent


def _retry_after(headers: EmailMessage) -> float | None:
    """The seconds of Retry-After; a date is measured from the reply's own, so no clock of ours has to be right."""
    text = headers.get("Retry-After") or ""
    try:
        return max(0.0, float(text))
    except ValueError:
        pass
    try:
        return max(0.0, (parsedate_to_datetime(text) - parsedate_to_datetime(headers["Date"])).total_seconds())
    except (ValueError, TypeError, KeyError):
        return None


def question_of(example: AnyExample) -> tuple[Sequence[Message], str]:
    """What is asked by an example, and the reference: the messages before the last assistant turn, and that turn.

    Raises:
        DataError: there is no assistant turn after a question.
    """
    messages = example.messages if isinstance(example, Example) else ()
    last = max((i for i, message in enumerate(messages) if message.role == "assistant"), default=0)
    if not last:
        raise DataError(f"{example.origin}: there is no question with an answer to compare with.")
    return messages[:last], messages[last].content


def endpoint_items(endpoint: Endpoint, examples: Sequence[AnyExample], settings: GenerationSettings) -> list[Item]:
    """One item for each example, answered by an endpoint.

    Raises:
        DataError: as `question_of`.
        UsageError: as `Endpoint.answer`.
    """
    asked = [question_of(example) for example in examples]
    found = endpoint.answers([prompt for prompt, _ in asked], settings)
    return [
        Item(answer=text, reference=reference, finished=ended, prompt=prompt[-1].content)
        for (prompt, reference), (text, ended) in zip(asked, found, strict=True)
    ]


def endpoint_task_items(endpoint: Endpoint, task: Task, questions: Sequence[Asked]) -> list[Item]:
    """What an endpoint writes to the questions of a task, each sent as one message of a user.

    Raises:
        UsageError: the task is scored by the likelihood of options, which no endpoint tells; or as `Endpoint.answer`.
    """
    if task.options is not None:
        raise UsageError(
            f"{endpoint.url}#{endpoint.model}: {task.name} is scored by the likelihood of its options, which an "
            "endpoint does not tell. Take a task whose answers are written (gsm8k, ifeval, bbh), or a model here."
        )
    questions = repeated(task, questions)
    found = endpoint.answers([[Message("user", question.prompt)] for question in questions], settings_of(task))
    return [item_of(task, question, text, ended) for question, (text, ended) in zip(questions, found, strict=True)]
