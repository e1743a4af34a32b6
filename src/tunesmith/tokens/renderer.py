"""The process in which templates run: it compiles and renders what it is told to, within limits of the system.

The decision: a sandbox refuses what it knows, and a limit refuses the rest: a filter that pads to a gigabyte, a regular
expression that never ends, a door that nobody has thought of. So templates run in a process that may use little time
and memory, open no file and start no process (`confined` starts it and tells of its end). Requests and replies are JSON
behind four bytes of length; nothing that is read can be more than data.

    python -m tunesmith.tokens.renderer SECONDS BYTES     reads requests from stdin until it ends, replies on stdout
"""

import contextlib
import importlib
import json
import re
import resource
import signal
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import IO, Any

from tunesmith.errors import TemplateError
from tunesmith.tokens.filled import text_of, texts_of
from tunesmith.tokens.sandbox import CompiledTemplate, Turn
from tunesmith.tokens.traced import TEMPLATE, TOOLS, Source, Traced, Words, trace, watching

LATER = ("pprint", "jinja2.constants", "jinja2.debug", "encodings.unicode_escape", "textwrap")
"""Modules that jinja2 imports when it first needs them; then no file can be opened any more."""

_ROLE = re.compile(r"[A-Za-z][\w-]*")


def serve(requests: IO[bytes], replies: IO[bytes], seconds: float) -> None:
    """Answer every request until there are no more; one that takes more processor time ends the process (SIGPROF)."""
    templates: list[CompiledTemplate] = []
    while (request := receive(requests)) is not None:
        signal.setitimer(signal.ITIMER_PROF, seconds)
        try:
            reply = _answered(templates, request)
        except TemplateError as error:
            reply = {"error": str(error)}
        except (MemoryError, RecursionError, OSError) as error:
            reply = {"error": f"The chat template needs more than it is given ({type(error).__name__})."}
        signal.setitimer(signal.ITIMER_PROF, 0)
        send(replies, reply)


def receive(stream: IO[bytes]) -> dict[str, Any] | None:
    """The next message; None at the end of the stream, which may come in the middle of one."""
    length = int.from_bytes(stream.read(4), "little")
    text = stream.read(length)
    if not text or len(text) < length:
        return None
    message: dict[str, Any] = json.loads(text.decode("utf-8", "surrogatepass"))
    return message


def send(stream: IO[bytes], message: Mapping[str, Any], *, other: Callable[[Any], str] | None = None) -> None:
    """Write one message; text may hold lone surrogates, as JSON may. `other` writes what is no JSON as a text.

    Raises:
        TypeError: there is such a value, and no `other`.
    """
    text = json.dumps(message, ensure_ascii=False, default=other).encode("utf-8", "surrogatepass")
    stream.write(len(text).to_bytes(4, "little") + text)
    stream.flush()


def _answered(templates: list[CompiledTemplate], request: Mapping[str, Any]) -> dict[str, Any]:
    match request:
        case {"text_of": source, "fields": fields}:
            return {"text": text_of(source, fields)}
        case {"texts_of": source, "fields": fields}:
            return {"texts": texts_of(source, fields)}
        case {"source": _}:
            return _compiled(templates, request)
        case _:
            return _rendered(templates, request)


def _compiled(templates: list[CompiledTemplate], request: Mapping[str, Any]) -> dict[str, Any]:
    templates.append(CompiledTemplate(request["source"]))
    return {"literals": sorted(templates[-1].literals), "filters": sorted(templates[-1].filters)}


def _rendered(templates: list[CompiledTemplate], request: Mapping[str, Any]) -> dict[str, Any]:
    """`text`, its `runs` of (length, *Source), and what was seen of the words: `looks`, `saw_more`."""
    tools = request["tools"]
    specials = {name: Traced.of(text, Source(TEMPLATE)) for name, text in request["specials"].items()}
    variables = {
        **specials,
        "messages": [_turn(i, fields, request["in_parts"]) for i, fields in enumerate(request["messages"])],
        "tools": trace(tools, Source(TOOLS)) if tools else None,
        "documents": None,
        "add_generation_prompt": request["generation_prompt"],
    }
    with watching() as notebook:
        written = templates[request["template"]].run(variables)
    return {
        "text": "".join((written, "")),
        "runs": [(length, *source) for length, source in written._runs],
        "looks": notebook.looks if request["watched"] else [],
        "saw_more": notebook.saw_more,
    }


def _turn(index: int, message: Mapping[str, Any], in_parts: bool) -> Turn:
    """The message with the fields that transformers gives a template."""
    own = Source(index)
    # Templates build control tokens from role names (`<|user|>`); a plain name can forge nothing.
    role_source = Source(TEMPLATE, index) if _ROLE.fullmatch(message["role"]) else own
    content = Traced.of(message["content"], own._replace(words=Words("content")))
    fields: dict[str, Any] = {
        "role": Traced.of(message["role"], role_source),
        "content": [{"type": "text", "text": content}] if in_parts else content,
    }
    if message["reasoning"] is not None:
        reasoning = Traced.of(message["reasoning"], own._replace(words=Words("reasoning")))
        fields["reasoning_content"] = fields["thinking"] = reasoning
    if message["tool_calls"]:
        fields["tool_calls"] = [trace(_call_with_parsed_arguments(call), own) for call in message["tool_calls"]]
    for name in ("tool_call_id", "name"):
        if (value := message[name]) is not None:
            fields[name] = Traced.of(value, own)
    return Turn(index, fields)


def _call_with_parsed_arguments(call: Mapping[str, Any]) -> dict[str, Any]:
    """The call with `arguments` as an object, as servers hand it to templates; arguments that are no JSON stay text."""
    plain = dict(call)
    function = plain.get("function")
    if isinstance(function, Mapping) and isinstance(function.get("arguments"), str):
        try:
            plain["function"] = {**function, "arguments": json.loads(function["arguments"])}
        except ValueError:
            return plain
    return plain


def confine(memory: int) -> None:
    """From here on this process opens no file, starts no process, and takes at most `memory` more bytes.

    What a system cannot limit (macOS has no limit of the address space) stays as it is.
    """
    for name in LATER:
        importlib.import_module(name)
    # Ctrl-C is for the process that asks; this one ends when its requests do.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGPROF, signal.SIG_DFL)
    limits = [(resource.RLIMIT_NOFILE, 3), (resource.RLIMIT_FSIZE, 0), (resource.RLIMIT_CORE, 0)]
    statm = Path("/proc/self/statm")
    if statm.exists():
        taken = int(statm.read_text(encoding="ascii").split()[0]) * resource.getpagesize()
        limits += [(resource.RLIMIT_AS, taken + memory), (resource.RLIMIT_NPROC, 0)]
    for limit, value in limits:
        with contextlib.suppress(ValueError, OSError):
            resource.setrlimit(limit, (value, value))


if __name__ == "__main__":
    confine(int(sys.argv[2]))
    serve(sys.stdin.buffer, sys.stdout.buffer, float(sys.argv[1]))
