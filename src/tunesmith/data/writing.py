"""Examples → files in the forms that trainers and managed services take.

The decision: nothing is bent to fit. An example that a form cannot say (several turns, tools, reasoning, a weight
between 0 and 1) is left out with a finding that says why, and the file never replaces another.
"""

import os
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import orjson

from tunesmith.data.checks import Finding, find
from tunesmith.data.example import AnyExample, Example, Message, Passage
from tunesmith.data.formats.roles import BEFORE
from tunesmith.errors import UsageError

Row = Mapping[str, Any]


class Unsayable(Exception):
    """A form has no way to say an example; the message is the reason."""


@dataclass(frozen=True, slots=True)
class Form:
    """A form to write: its rows, and whether the file begins with a byte order mark."""

    name: str
    about: str
    row: Callable[[Example], Row]
    marked: bool = False


def _message(message: Message) -> dict[str, Any]:
    row: dict[str, Any] = {"role": message.role, "content": message.content}
    if message.parts:
        row["content"] = _content_parts(message)
    elif message.tool_calls and not message.content:
        row["content"] = None
    optional = {
        "weight": message.weight,
        "reasoning_content": message.reasoning,
        "tool_calls": list(message.tool_calls) or None,
        "tool_call_id": message.tool_call_id,
        "name": message.name,
    }
    return row | {key: value for key, value in optional.items() if value is not None}


def _content_parts(message: Message) -> list[dict[str, Any]]:
    """The content in pieces, of which those that count otherwise than the turn have a weight."""
    weights = {(start, end): weight for start, end, weight in message.parts}
    cuts = sorted({0, len(message.content), *(border for span in weights for border in span)})
    pieces = [{"type": "text", "text": message.content[a:b], "weight": weights.get((a, b))} for a, b in pairwise(cuts)]
    return [{key: value for key, value in piece.items() if value is not None} for piece in pieces]


def _messages(example: Example) -> Row:
    row: dict[str, Any] = {"messages": [_message(m) for m in example.messages]}
    if example.tools:
        row["tools"] = list(example.tools)
    if example.weight != 1:
        row["weight"] = example.weight
    return row


def _openai(example: Example) -> Row:
    _whole_weight(example)
    _whole_turns(example)
    if any(m.reasoning for m in example.messages):
        raise Unsayable("it holds reasoning")
    row = dict(_messages(example))
    for message in row["messages"]:
        if message.get("weight", 0) not in (0, 1):
            raise Unsayable(f"a turn has the weight {message['weight']}, and only 0 and 1 are known")
        if "weight" in message:
            message["weight"] = int(message["weight"])
    return row


def _whole_weight(example: Example) -> None:
    if example.weight != 1:
        raise Unsayable(f"it has the weight {example.weight}")


def _whole_turns(example: Example) -> None:
    if any(m.parts for m in example.messages):
        raise Unsayable("parts of a turn have their own weight")


def _plain(example: Example) -> tuple[str, list[Message]]:
    """The system text and the turns of a conversation without tools, reasoning and weights that are not told."""
    _whole_weight(example)
    _whole_turns(example)
    turns = list(example.messages)
    system = "\n\n".join(m.content for m in turns if m.role in BEFORE)
    turns = [m for m in turns if m.role not in BEFORE]
    if example.tools or any(m.tool_calls or m.role == "tool" for m in turns):
        raise Unsayable("it uses tools")
    if any(m.reasoning for m in turns):
        raise Unsayable("it holds reasoning")
    if any(m.weight not in (None, 1) for m in turns):
        raise Unsayable("a turn has its own weight")
    roles = [m.role for m in turns]
    if not roles or len(roles) % 2 or roles != ["user", "assistant"] * (len(roles) // 2):
        raise Unsayable("its turns do not alternate between user and assistant")
    return system, turns


def _single(example: Example) -> tuple[str, str, str]:
    system, turns = _plain(example)
    if len(turns) != 2:
        raise Unsayable("it has more than one answer")
    return system, turns[0].content, turns[1].content


def _prompt_completion(example: Example) -> Row:
    system, question, answer = _single(example)
    if not system:
        return {"prompt": question, "completion": answer}
    prompt = [{"role": "system", "content": system}, {"role": "user", "content": question}]
    return {"prompt": prompt, "completion": [{"role": "assistant", "content": answer}]}


def _alpaca(example: Example) -> Row:
    system, turns = _plain(example)
    row: dict[str, Any] = {"instruction": turns[-2].content, "input": "", "output": turns[-1].content}
    if system:
        row["system"] = system
    if len(turns) > 2:
        texts = [m.content for m in turns[:-2]]
        row["history"] = [list(pair) for pair in zip(texts[::2], texts[1::2], strict=True)]
    return row


def _sharegpt(example: Example) -> Row:
    _whole_weight(example)
    _whole_turns(example)
    names = {"system": "system", "developer": "system", "user": "human", "assistant": "gpt", "tool": "observation"}
    turns = []
    for message in example.messages:
        if message.reasoning or (message.tool_calls and message.content):
            raise Unsayable("a turn holds reasoning or text beside a tool call")
        turn: dict[str, Any] = {"from": names[message.role], "value": message.content}
        if message.tool_calls:
            turn = {"from": "function_call", "value": _text([call["function"] for call in message.tool_calls])}
        if message.weight is not None:
            turn["weight"] = message.weight
        turns.append(turn)
    row: dict[str, Any] = {"conversations": turns}
    if example.tools:
        row["tools"] = _text([tool["function"] for tool in example.tools])
    return row


def _text(value: Any) -> str:
    return orjson.dumps(value).decode()


def _vertex(example: Example) -> Row:
    system, turns = _plain(example)
    names = {"user": "user", "assistant": "model"}
    row: dict[str, Any] = {"contents": [{"role": names[m.role], "parts": [{"text": m.content}]} for m in turns]}
    if system:
        row = {"systemInstruction": {"role": "system", "parts": [{"text": system}]}, **row}
    return row


def _sagemaker(example: Example) -> Row:
    system, question, answer = _single(example)
    return {"prompt": f"{system}\n\n{question}" if system else question, "completion": answer}


FORMS: dict[str, Form] = {
    form.name: form
    for form in (
        Form("messages", "everything an example holds, as Tunesmith reads it", _messages),
        Form("openai", "OpenAI's fine-tuning service: weights 0 and 1, tools", _openai),
        Form("azure", "Azure OpenAI: the same, with the byte order mark that it asks for", _openai, marked=True),
        Form("prompt_completion", "one prompt and one answer", _prompt_completion),
        Form("alpaca", "instruction, input, output; earlier turns as history", _alpaca),
        Form("sharegpt", "conversations of human and gpt, tools as text", _sharegpt),
        Form("vertex", "Vertex AI (Gemini): contents of user and model", _vertex),
        Form("sagemaker", "SageMaker JumpStart: prompt and completion, with template.json", _sagemaker),
    )
}
# JumpStart fills each row into this template (AWS, "Instruction-based fine-tuning": template.json beside the data).
SAGEMAKER_TEMPLATE = {"prompt": "{prompt}", "completion": "{completion}"}


@dataclass(frozen=True, slots=True)
class Written:
    """What was written: the files, how many examples, and a finding for each that the form cannot say."""

    files: tuple[Path, ...]
    examples: int
    findings: tuple[Finding, ...]


def write_examples(examples: Iterable[AnyExample], path: Path, form: str = "messages") -> Written:
    """Write examples as JSONL of a form; beside SageMaker's file stands its `template.json`.

    The file appears when it is whole.

    Raises:
        UsageError: the form is unknown, or a file stands there already.
    """
    if form not in FORMS:
        raise UsageError(f"there is no form {form!r} to write; known are {', '.join(FORMS)}.")
    template = path.with_name("template.json")
    files = (path, template) if form == "sagemaker" else (path,)
    for file in files:
        if file.exists():
            raise UsageError(f"{file}: the file exists and is never overwritten. Name another.")
    findings, count = [], 0
    unfinished = path.with_name(path.name + ".part")
    with unfinished.open("wb") as out:
        out.write(b"\xef\xbb\xbf" if FORMS[form].marked else b"")
        for example in examples:
            try:
                out.write(orjson.dumps(_row(example, form)) + b"\n")
                count += 1
            except Unsayable as reason:
                message = f"left out: {form} has no way to say that {reason}."
                findings.append(find("not-expressible", message, example.origin))
    os.replace(unfinished, path)
    if form == "sagemaker":
        template.write_bytes(orjson.dumps(SAGEMAKER_TEMPLATE, option=orjson.OPT_INDENT_2))
    return Written(files, count, tuple(findings))


def _row(example: AnyExample, form: str) -> Row:
    if isinstance(example, Example):
        return FORMS[form].row(example)
    if form != "messages":
        raise Unsayable("it is plain text or tokens, without turns")
    if isinstance(example, Passage):
        return {"text": example.text}
    return {"input_ids": example.ids.tolist(), "weights": example.weights.tolist()}
