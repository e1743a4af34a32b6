"""ShareGPT's `conversations`, with the names of its many dialects, and LIMA's lists of strings.

The decision: the turns' keys (from/value, role/content) and roles (human, gpt, function_call, observation …) are
recognised turn by turn. A list of plain strings alternates between user and assistant (LIMA's original form).
"""

from collections.abc import Mapping
from typing import Any

from tunesmith.data.example import Message
from tunesmith.data.formats.conversation import conversation
from tunesmith.data.formats.format import Format, Notes, Outcome, text_field
from tunesmith.data.formats.messages import decoded, record_weight
from tunesmith.data.formats.roles import ALIASES, CALLS
from tunesmith.data.formats.tools import read_tools
from tunesmith.data.formats.turns import read_turn
from tunesmith.data.records import Record

FIELDS = ("conversations", "conversation", "messages")


def _turns(value: Mapping[str, Any]) -> tuple[str, Any]:
    present = (name for name in FIELDS if value.get(name) is not None)
    return next(((name, decoded(value[name])) for name in present), ("conversations", None))


def _recognise(value: Mapping[str, Any]) -> bool:
    name, turns = _turns(value)
    if not isinstance(turns, list):
        return False
    return name != "messages" or bool(turns and isinstance(turns[0], Mapping) and "from" in turns[0])


def _examples(record: Record) -> Outcome:
    value, notes = record.value, Notes(record.origin)
    name, raw = _turns(value)
    if not isinstance(raw, list):
        kind = "missing-field" if raw is None else "wrong-type"
        notes.add(kind, f"the field {name!r} holds no list of turns.", name)
        return notes.outcome()
    system = text_field(value, "system", notes, required=False)
    turns = [Message("system", system)] if system else []
    turns += read_turns(raw, name, notes)
    tools = read_tools(value.get("tools"), "tools", notes)
    return conversation(turns, notes, tools=tools, weight=record_weight(value, notes), at=name)


def read_turns(raw: list[Any], at: str, notes: Notes) -> list[Message]:
    """The turns of a list in any dialect; those that cannot be read leave a finding."""
    read = [turn for i, entry in enumerate(raw) for turn in _read(entry, i, f"{at}[{i}]", notes)]
    return [turn for turn in read if turn is not None]


def _read(raw: Any, i: int, at: str, notes: Notes) -> list[Message | None]:
    if isinstance(raw, str):
        return [Message("assistant" if i % 2 else "user", raw)]
    if isinstance(raw, Mapping) and not {"from", "role"} & raw.keys() and {"human", "input"} & raw.keys():
        return _exchange(raw, at, notes)
    return [read_turn(_as_turn(raw), at, notes)]


def _as_turn(raw: Any) -> Any:
    """The turn under OpenAI's names."""
    if not isinstance(raw, Mapping):
        return raw
    role = raw.get("from", raw.get("role"))
    content = raw.get("value", raw.get("content"))
    rest = {key: value for key, value in raw.items() if key not in ("from", "role", "value", "content")}
    if role in CALLS:
        return {**rest, "role": "assistant", "content": None, "tool_calls": content}
    return {**rest, "role": ALIASES.get(role, role) if isinstance(role, str) else role, "content": content}


def _exchange(raw: Mapping[str, Any], at: str, notes: Notes) -> list[Message | None]:
    """One question with its answer in a single entry: {human, assistant} or {input, output}, perhaps with system."""
    question, answer = ("human", "assistant") if "human" in raw else ("input", "output")
    turns = [{"role": "system", "content": raw["system"]}] if raw.get("system") else []
    turns.append({"role": "user", "content": raw[question]})
    turns.append({"role": "assistant", "content": raw.get(answer)})
    return [read_turn(turn, at, notes) for turn in turns]


SHAREGPT = Format(
    name="sharegpt",
    about='ShareGPT: {"conversations": [{"from": "human", "value": …}, {"from": "gpt", "value": …}]}, also LIMA',
    required=("conversations",),
    optional=("system", "tools", "weight"),
    recognise=_recognise,
    examples=_examples,
)
