"""Formats of prompts and answers in fields of their own: prompt/completion, Alpaca, Dolly, FLAN, Self-Instruct.

The decision: a chat template does the framing, so no preamble ("Below is an instruction…") is added. Where a prompt
has two parts they are joined by an empty line: `instruction`, a blank line, then `input` (or `context`), if it has one.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from tunesmith.data.checks import Finding
from tunesmith.data.example import Message
from tunesmith.data.formats.conversation import conversation
from tunesmith.data.formats.format import Format, Notes, Outcome, text_field
from tunesmith.data.formats.messages import record_weight
from tunesmith.data.formats.tools import read_tools
from tunesmith.data.formats.turns import read_turn
from tunesmith.data.records import Record


def _pair(name: str, about: str, *, prompt: str, addition: str | None, answer: str, extra: tuple[str, ...]) -> Format:
    """A format with the prompt in one field (and perhaps an addition in a second) and the answer in another."""

    def recognise(value: Mapping[str, Any]) -> bool:
        return prompt in value and answer in value

    def examples(record: Record) -> Outcome:
        value, notes = record.value, Notes(record.origin)
        if isinstance(value.get(prompt), list) and isinstance(value.get(answer), list):
            return _conversational(value, prompt, answer, notes)
        words = text_field(value, prompt, notes)
        if addition is not None and (more := text_field(value, addition, notes, required=False)).strip():
            words = f"{words}\n\n{more}" if words.strip() else more
        reply = text_field(value, answer, notes)
        if notes.stopped:
            return notes.outcome()
        before = _before(value, notes)
        turns = [*before, Message("user", words), Message("assistant", reply)]
        places = [*("system" if turn.role == "system" else "history" for turn in before), prompt, answer]
        return conversation(turns, notes, weight=record_weight(value, notes), at=answer, places=places)

    required = (prompt, answer)
    optional = tuple(f for f in (addition, "system", "history", "weight", *extra) if f is not None)
    return Format(name, about, required, optional, recognise, examples)


def _before(value: Mapping[str, Any], notes: Notes) -> list[Message]:
    """The system turn and the earlier turns (`history`: a list of question and answer)."""
    turns = []
    if system := text_field(value, "system", notes, required=False):
        turns.append(Message("system", system))
    history = value.get("history") or []
    if not isinstance(history, list):
        notes.add("wrong-type", "history holds no list of [question, answer].", "history")
        return turns
    for i, pair in enumerate(history):
        if not isinstance(pair, list) or len(pair) != 2 or not all(isinstance(text, str) for text in pair):
            notes.add("wrong-type", "an entry of history is no list of question and answer.", f"history[{i}]")
            continue
        turns += [Message("user", pair[0]), Message("assistant", pair[1])]
    return turns


def _conversational(value: Mapping[str, Any], prompt: str, answer: str, notes: Notes) -> Outcome:
    """TRL's conversational form: both fields are lists of turns, and only those of the answer are learned."""
    context = [read_turn(raw, f"{prompt}[{i}]", notes) for i, raw in enumerate(value[prompt])]
    replies = [read_turn(raw, f"{answer}[{i}]", notes) for i, raw in enumerate(value[answer])]
    tools = read_tools(value.get("tools"), "tools", notes)
    turns = [_unlearned(turn) for turn in context if turn is not None]
    return conversation([*turns, *(turn for turn in replies if turn is not None)], notes, tools=tools)


def _unlearned(turn: Message) -> Message:
    if turn.role != "assistant":
        return turn
    return Message(turn.role, turn.content, 0.0, turn.reasoning, turn.tool_calls, turn.tool_call_id, turn.name)


PROMPT_COMPLETION = _pair(
    "prompt_completion",
    'prompt and answer: {"prompt": …, "completion": …}, as texts or as lists of turns',
    prompt="prompt",
    addition=None,
    answer="completion",
    extra=("tools",),
)
ALPACA = _pair(
    "alpaca",
    'Alpaca: {"instruction": …, "input": …, "output": …}, also LIMA\'s with "history"',
    prompt="instruction",
    addition="input",
    answer="output",
    extra=(),
)
DOLLY = _pair(
    "dolly",
    'Dolly: {"instruction": …, "context": …, "response": …, "category": …}',
    prompt="instruction",
    addition="context",
    answer="response",
    extra=("category",),
)
_ONE_TEMPLATE = _pair(
    "flan",
    'FLAN: {"inputs": …, "targets": …}, also lists of both: one task in several templates',
    prompt="inputs",
    addition=None,
    answer="targets",
    extra=(),
)


def _templates(record: Record) -> Outcome:
    """One example for each of the `inputs` that put a task in several ways; all of them, or none and the findings."""
    value, notes = record.value, Notes(record.origin)
    inputs, targets = value.get("inputs"), value.get("targets")
    if not isinstance(inputs, list) or not inputs or not all(isinstance(text, str) for text in inputs):
        return _ONE_TEMPLATE.examples(record)
    answers = targets if isinstance(targets, list) else [targets] * len(inputs)
    if len(answers) != len(inputs):
        notes.add("wrong-type", f"{len(inputs)} inputs stand beside {len(answers)} targets.", "targets")
        return notes.outcome()
    ways = [{**value, "inputs": text, "targets": answer} for text, answer in zip(inputs, answers, strict=True)]
    return _all_or_none(_ONE_TEMPLATE, ways, record)


def _all_or_none(format: Format, values: list[dict[str, Any]], record: Record) -> Outcome:
    """The examples of the several values of one record; where one of them cannot be used, only what was found."""
    found = [item for value in values for item in format.examples(Record(value, record.origin))]
    stopped = any(isinstance(item, Finding) and item.level == "stop" for item in found)
    return [item for item in found if isinstance(item, Finding)] if stopped else found


FLAN = replace(_ONE_TEMPLATE, examples=_templates)


def _instances(record: Record) -> Outcome:
    value, notes = record.value, Notes(record.origin)
    instances = value.get("instances")
    if not isinstance(instances, list) or not instances or not all(isinstance(one, dict) for one in instances):
        notes.add("wrong-type", "instances holds no list of objects with input and output.", "instances")
        return notes.outcome()
    return _all_or_none(ALPACA, [{**value, **one} for one in instances], record)


SELF_INSTRUCT = Format(
    name="self_instruct",
    about='Self-Instruct: {"instruction": …, "instances": [{"input": …, "output": …}]}',
    required=("instruction", "instances"),
    optional=(),
    recognise=lambda value: "instruction" in value and "instances" in value,
    examples=_instances,
)
