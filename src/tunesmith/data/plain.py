"""Examples as plain values, for JSON, and back.

The decision: a message is what it consists of, in the order of `Message`, and most consist of role and content alone.
Ready tokens are arrays and have no form here: nothing has to be computed of them.
"""

from collections.abc import Sequence
from typing import Any

from tunesmith.data.example import Example, Message, Origin, Passage


def plain(example: Example | Passage) -> list[Any]:
    """The example as a list: file, line, and its text or its messages, tools and weight."""
    origin = example.origin
    if isinstance(example, Passage):
        return [origin.file, origin.line, example.text]
    return [origin.file, origin.line, [_fields(m) for m in example.messages], example.tools, example.weight]


def example_of(values: Sequence[Any]) -> Example | Passage:
    """The example that `plain` wrote, whether or not its tuples have become lists."""
    file, line, content, *rest = values
    if not rest:
        return Passage(content, Origin(file, line))
    tools, weight = rest
    return Example(tuple([_message(*fields) for fields in content]), Origin(file, line), tuple(tools), weight)


def _fields(m: Message) -> tuple[Any, ...]:
    rest = (m.weight, m.reasoning, m.tool_calls, m.tool_call_id, m.name, m.parts)
    return (m.role, m.content) if rest == _USUAL else (m.role, m.content, *rest)


_USUAL = (None, None, (), None, None, ())


def _message(role: str, content: str, *rest: Any) -> Message:
    if not rest:
        return Message(role, content)
    weight, reasoning, calls, call_id, name, parts = rest
    return Message(role, content, weight, reasoning, tuple(calls), call_id, name, tuple(map(tuple, parts)))
