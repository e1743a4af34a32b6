"""Templates that run in a process of their own, as if they ran here: those of chats, and those of benchmarks.

The decision: one child for all templates of a process (`renderer` says what it may not do). It is started when the
first template is compiled, ends with us, and is started again when a template has brought it down; that template is
told of, by name of the limit, and the others are compiled again without a word. Most conversations of a data set never
get here (`shapes`), so the way to another process and back costs little.
"""

import atexit
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from threading import Lock
from typing import Any, NamedTuple

from tunesmith.data.example import Message
from tunesmith.errors import TemplateError
from tunesmith.tokens.renderer import receive, send
from tunesmith.tokens.traced import Look, Source, Words, is_watched, note

SECONDS = 10.0
"""Processor time that compiling a template or one rendering may take."""
MEMORY = 512 * 2**20
"""Bytes that templates may take."""
MOST_TEMPLATES = 256
"""Templates that one child holds; then a new one begins."""
FIELDS = ("role", "content", "reasoning", "tool_calls", "tool_call_id", "name")
"""What of a message a template gets."""
_PACKAGES = str(Path(__file__).parents[2])


class Written(NamedTuple):
    """What a template wrote: the text, and runs of (length, Source) that add up to it."""

    text: str
    runs: list[tuple[int, Source]]


class ConfinedTemplate:
    """A chat template compiled in the child; `literals` are the texts that it may write, `filters` those that it uses.

    Raises:
        TemplateError: it is not valid Jinja, or goes beyond a limit.
    """

    def __init__(self, source: str) -> None:
        self._source = source
        reply = _child.compiled(source)
        self.literals: frozenset[str] = frozenset(reply["literals"])
        self.filters: frozenset[str] = frozenset(reply["filters"])

    def render(
        self,
        messages: Sequence[Message],
        tools: Sequence[Mapping[str, Any]],
        *,
        specials: Mapping[str, str],
        generation_prompt: bool,
        in_parts: bool,
    ) -> Written:
        """The conversation as text. What the template saw of the words is noted as if it had run here.

        Raises:
            TemplateError: the template refuses the conversation, fails, or goes beyond a limit.
        """
        request = {
            "messages": [{name: getattr(message, name) for name in FIELDS} for message in messages],
            "tools": list(tools),
            "watched": is_watched(),
            "specials": specials,
            "generation_prompt": generation_prompt,
            "in_parts": in_parts,
        }
        reply = _child.rendered(self._source, request)
        note((_look(*look) for look in reply["looks"]), more=reply["saw_more"])
        runs = [
            (length, Source(author, turn, marked, None if words is None else _words(words)))
            for length, author, turn, marked, words in reply["runs"]
        ]
        return Written(reply["text"], runs)


def filled(template: str, fields: Mapping[str, Any]) -> str:
    """What a template writes about the fields of a row; a value that is no JSON is seen as a text.

    Raises:
        TemplateError: the row lacks a field, the template fails on it, or goes beyond a limit; says which.
    """
    return str(_child.filled({"text_of": template, "fields": fields})["text"])


def listed(expression: str, fields: Mapping[str, Any]) -> tuple[str, ...]:
    """The texts in the list that an expression means of a row.

    Raises:
        TemplateError: as `filled`, or it gives no list.
    """
    return tuple(_child.filled({"texts_of": expression, "fields": fields})["texts"])


class _Child:
    """The process that renders; safe to be used from several threads, and anew in a forked process."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._templates: dict[str, tuple[int, dict[str, Any]]] = {}

    def compiled(self, source: str) -> dict[str, Any]:
        with self._lock:
            return self._compile(source)

    def rendered(self, source: str, request: dict[str, Any]) -> dict[str, Any]:
        with self._lock:
            self._compile(source)
            return self._asked({**request, "template": self._templates[source][0]})

    def filled(self, request: dict[str, Any]) -> dict[str, Any]:
        with self._lock:
            return self._asked(request, stopped="it", other=str)

    def end(self) -> None:
        """The process is gone; the next request starts another."""
        process, self._process = self._process, None
        self._templates = {}
        if process is not None:
            process.kill()
            process.communicate()

    def forget(self) -> None:
        """In a forked process: the child belongs to the other one, in which a thread may even hold the lock."""
        self._lock = Lock()
        self._templates = {}
        if self._process is not None:
            self._process.returncode = 0  # or Python complains that it was not waited for
            self._process = None

    def _compile(self, source: str) -> dict[str, Any]:
        if source not in self._templates:
            if len(self._templates) >= MOST_TEMPLATES:
                self.end()
            reply = self._asked({"source": source})
            self._templates[source] = (len(self._templates), reply)
        return self._templates[source][1]

    def _asked(
        self,
        request: dict[str, Any],
        *,
        stopped: str = "The chat template was stopped: it",
        other: Callable[[Any], str] | None = None,
    ) -> dict[str, Any]:
        process = self._process = self._process or _started()
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            send(process.stdin, request, other=other)
            reply = receive(process.stdout)
        except BrokenPipeError:
            reply = None
        except (TypeError, ValueError, RecursionError) as error:
            raise TemplateError(f"A conversation or row holds what a template cannot be given: {error}.") from error
        except BaseException:
            # An answer that nobody waits for any more would be taken for that of the next request.
            self.end()
            raise
        if reply is None:
            process.wait()
            self.end()
            raise TemplateError(f"{stopped} {_end(process.returncode)}.")
        if "error" in reply:
            raise TemplateError(reply["error"])
        return reply


def search_path() -> str:
    """Where another process finds the packages that this one has."""
    return os.pathsep.join(filter(None, (_PACKAGES, os.environ.get("PYTHONPATH"))))


def _started() -> subprocess.Popen[bytes]:
    """A fresh child; of the environment it gets only what Python needs to start."""
    kept = {name: os.environ[name] for name in ("LD_LIBRARY_PATH", "PYTHONHOME") if name in os.environ}
    return subprocess.Popen(
        [sys.executable, "-P", "-m", "tunesmith.tokens.renderer", str(SECONDS), str(MEMORY)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env={**kept, "PYTHONPATH": search_path()},
    )


def _end(code: int) -> str:
    if code == -signal.SIGPROF:
        return f"takes more than {SECONDS:g} seconds"
    return f"needs more than {MEMORY // 2**20} MiB, or brings down the process that it runs in (code {code})"


def _look(author: int, words: Sequence[Any], question: str, argument: str | None, answer: bool) -> Look:
    return Look(author, _words(words), question, argument, answer)


def _words(parts: Sequence[Any]) -> Words:
    name, trims = parts
    return Words(name, tuple((method, chars) for method, chars in trims))


_child = _Child()
atexit.register(_child.end)
os.register_at_fork(after_in_child=_child.forget)
