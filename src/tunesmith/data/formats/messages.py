"""OpenAI's chat form: `{"messages": [{"role": …, "content": …}], "tools": […]}`.

The decision: besides OpenAI's own (weights 0 and 1, content parts, tools, tool_calls, developer, refusal), the flags
that the peers added to the same form are read: any weight ≥ 0, train, loss, loss_scale, loss_weight,
reasoning_content, content parts of type reasoning.
"""

import math
from collections.abc import Mapping
from typing import Any

import orjson

from tunesmith.data.formats.conversation import conversation
from tunesmith.data.formats.format import Format, Notes, Outcome
from tunesmith.data.formats.tools import read_tools
from tunesmith.data.formats.turns import read_turn
from tunesmith.data.records import Record


def decoded(turns: Any) -> Any:
    """Turns as they are, or decoded where a table holds them as JSON text; text that is no JSON list stays text."""
    if isinstance(turns, str) and turns.lstrip().startswith("["):
        try:
            return orjson.loads(turns)
        except orjson.JSONDecodeError:
            return turns
    return turns


def _recognise(value: Mapping[str, Any]) -> bool:
    turns = decoded(value.get("messages"))
    return isinstance(turns, list) and (not turns or not isinstance(turns[0], Mapping) or "from" not in turns[0])


def _examples(record: Record) -> Outcome:
    value, notes = record.value, Notes(record.origin)
    raw = decoded(value.get("messages"))
    if not isinstance(raw, list):
        name = "missing-field" if raw is None else "wrong-type"
        notes.add(name, "the field 'messages' holds no list of turns.", "messages")
        return notes.outcome()
    if isinstance(value["messages"], str):
        notes.add("json-as-text", "the turns are JSON written as text; they were read as JSON.", "messages")
    turns = [read_turn(turn, f"messages[{i}]", notes) for i, turn in enumerate(raw)]
    tools = read_tools(value.get("tools") or value.get("functions"), "tools", notes)
    messages = [turn for turn in turns if turn is not None]
    return conversation(messages, notes, tools=tools, weight=record_weight(value, notes))


def record_weight(value: Mapping[str, Any], notes: Notes) -> float:
    """The weight of the whole record, 1 where none is written."""
    weight = value.get("weight")
    if weight is None:
        return 1.0
    if isinstance(weight, int | float) and math.isfinite(weight) and weight >= 0:
        return float(weight)
    notes.add("bad-weight", f"the record's weight is {str(weight)[:40]!r}, where a number ≥ 0 is needed.", "weight")
    return 1.0


MESSAGES = Format(
    name="messages",
    about='OpenAI chat: {"messages": [{"role": "user", "content": …}, {"role": "assistant", "content": …}]}',
    required=("messages",),
    optional=("tools", "weight"),
    recognise=_recognise,
    examples=_examples,
)
