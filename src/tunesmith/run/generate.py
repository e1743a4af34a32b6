"""generate: one answer for each example of a file, in its order.

The decision: the file may hold answers (then the last one is set aside as the reference) or end with the question. Each
line of the result stands for the record at the same place, whatever order the answers were made in.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

from tunesmith.data.example import AnyExample, Example, Message
from tunesmith.data.files import find_files
from tunesmith.data.reading import MEMORY, Reading, read_examples
from tunesmith.data.records import Record, read_file
from tunesmith.errors import DataError
from tunesmith.generation.decode import generate as generate_ids
from tunesmith.generation.settings import GenerationSettings
from tunesmith.run.opened import Opened, Say, limited, open_model, to_stderr

_OPEN = "\ue000"  # a private character in the place of an answer that is not there


@dataclass(frozen=True, slots=True)
class Prompt:
    """What is asked: the messages before the answer, its tools, and the reference if the file holds one."""

    messages: tuple[Message, ...]
    tools: tuple[Mapping[str, Any], ...]
    reference: str | None


def generate(
    model_or_run: str,
    data: str,
    out: Path,
    *,
    settings: GenerationSettings | None = None,
    limit: int | None = None,
    say: Say = to_stderr,
) -> int:
    """Write one JSON object a line: `prompt` (messages), `completion`, `finished`, and `reference` where there is one.

    Returns the number of lines. `out` is whole or absent: it appears when the last answer is there.

    Raises:
        DataError: the data cannot be used as they are.
    """
    opened = open_model(model_or_run, say=say)
    prompts = read_prompts(opened, data, limit)
    ids = [opened.encoder.prompt(prompt.messages, prompt.tools) for prompt in prompts]
    chosen = settings or GenerationSettings()
    say(f"answers: {len(prompts):,}, up to {chosen.max_new_tokens} tokens, temperature {chosen.temperature:g}")
    answers = generate_ids(opened.model, ids, settings=chosen, stop_ids=opened.encoder.stop_ids)
    lines = [
        _line(prompt, opened.encoder.tokenizer.decode(answer.ids), answer.finished)
        for prompt, answer in zip(prompts, answers, strict=True)
    ]
    out.parent.mkdir(parents=True, exist_ok=True)
    partial = out.with_name(f".{out.name}.partial")
    partial.write_bytes(b"".join(lines))
    partial.replace(out)
    return len(lines)


def read_prompts(opened: Opened, data: str, limit: int | None) -> list[Prompt]:
    """The questions of a file in its order.

    Raises:
        DataError: a record cannot be read, or is plain text.
    """
    reading = opened.read(data)
    if reading.totals.get("no-answer"):
        reading = _reading_without_answers(opened, data)
    reading.refuse(on_no_target="drop")
    return [_prompt(example) for example in limited(reading.examples, limit)]


def _prompt(example: AnyExample) -> Prompt:
    if not isinstance(example, Example):
        raise DataError(f"{example.origin}: plain text or tokens ask nothing. Give conversations or prompts.")
    *before, last = example.messages
    if last.role != "assistant":
        return Prompt(example.messages, example.tools, None)
    return Prompt(tuple(before), example.tools, None if last.content == _OPEN else last.content)


def _reading_without_answers(opened: Opened, data: str) -> Reading:
    """The same file where records that end with a question are read as if an answer stood there."""
    rows = [_answered(r.value) for path in find_files(data)[0] for r in read_file(path) if isinstance(r, Record)]
    try:
        return read_examples(rows, format=opened.format, fields=opened.fields, system=opened.system)
    except DataError as error:
        raise DataError(str(error).replace(MEMORY, data)) from error


def _answered(row: Mapping[str, Any]) -> Mapping[str, Any]:
    turns = row.get("messages")
    if isinstance(turns, list) and turns and isinstance(turns[-1], dict) and turns[-1].get("role") != "assistant":
        return {**row, "messages": [*turns, {"role": "assistant", "content": _OPEN}]}
    return row


def _line(prompt: Prompt, completion: str, finished: str) -> bytes:
    line: dict[str, Any] = {
        "prompt": [_written(message) for message in prompt.messages],
        "completion": completion,
        "finished": finished,
    }
    if prompt.reference is not None:
        line["reference"] = prompt.reference
    return orjson.dumps(line) + b"\n"


def _written(message: Message) -> dict[str, Any]:
    """A message as the messages format writes it."""
    found: dict[str, Any] = {"role": message.role, "content": message.content}
    if message.tool_calls:
        found["tool_calls"] = list(message.tool_calls)
    for name, value in (("tool_call_id", message.tool_call_id), ("name", message.name)):
        if value is not None:
            found[name] = value
    return found
