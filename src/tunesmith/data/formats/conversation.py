"""Messages → Example, after everything that can be wrong with a conversation has been looked for.

The decision: every format ends here, so a check is written once and holds for all. What makes a record unusable
stops it; what a template may refuse or a reader should see is a warning, and the record is used as it stands.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Any

from tunesmith.data.example import Example, Message
from tunesmith.data.formats.format import Notes, Outcome
from tunesmith.data.formats.roles import BEFORE
from tunesmith.data.formats.tools import Tools, arguments_of, required_arguments, tool_name

_INVISIBLE = re.compile("[\u200b\u2060\ufeff\u202a-\u202e\u2066-\u2069]")
_PLACEHOLDERS = frozenset(("nan", "none", "null", "n/a", "na", "todo", "tbd", "undefined", "...", "…", "-", "#n/a"))
_MOJIBAKE = re.compile("Ã[\u0080-\u00bf]|â€|Â[\u00a0-\u00bf]")


def conversation(
    messages: Sequence[Message],
    notes: Notes,
    *,
    tools: Tools = (),
    weight: float = 1.0,
    at: str = "messages",
    places: Sequence[str] = (),
) -> Outcome:
    """The Example of a conversation and its findings; the findings alone where it cannot be used.

    `at` is where the turns stand in the record; `places`, where each has a field of its own, are their names.
    """
    if not messages:
        if not notes.stopped:
            notes.add("empty-conversation", "the conversation has no turn.", at)
        return notes.outcome()
    for i, message in enumerate(messages):
        _check_text(message, places[i] if places else f"{at}[{i}].content", notes)
    _check_order(messages, at, notes)
    _check_calls(messages, tools, at, notes)
    _check_target(messages, at, notes)
    return notes.outcome(Example(tuple(messages), notes.origin, tools, weight))


def _check_text(message: Message, at: str, notes: Notes) -> None:
    text = message.content
    if not text or text.isspace():
        _check_empty(message, at, notes)
        return
    check_characters(text, at, notes)
    if message.reasoning:
        check_characters(message.reasoning, at.replace(".content", ".reasoning_content"), notes)
    if message.role != "assistant":
        return
    if len(text) <= 12 and text.strip().lower() in _PLACEHOLDERS:
        notes.add("placeholder-answer", f"the answer is only {text.strip()!r}.", at)
    if text[0].isspace() or text[-1].isspace():
        notes.add("answer-whitespace", "the answer begins or ends with white space.", at)


def _check_empty(message: Message, at: str, notes: Notes) -> None:
    if message.tool_calls:
        return
    what = "only white space" if message.content else "empty"
    if message.role == "assistant" and message.weight != 0 and not message.reasoning:
        notes.add("empty-answer", f"the assistant's turn is {what}, so it would teach to say nothing.", at)
    elif message.role != "tool":
        notes.add("empty-turn", f"the {message.role} turn is {what}.", at)


def check_characters(text: str, at: str, notes: Notes) -> None:
    """Add a finding for characters that tell of a damaged text."""
    if "\x00" in text:
        notes.add("nul-character", "the text holds a NUL character.", at)
    if "\r" in text:
        notes.add("carriage-return", "the text has Windows line ends (\\r\\n), which would be learned.", at)
    if "\x1b" in text or "\x07" in text or "\x08" in text or "\x7f" in text:
        notes.add("control-character", "the text holds a control character (escape, bell, backspace, delete).", at)
    if text.isascii():
        return
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        notes.add("lone-surrogate", "the text holds half of a surrogate pair, which is no character.", at)
    if "\ufffd" in text:
        notes.add("replacement-character", "the text holds U+FFFD, where a character was lost.", at)
    if found := _INVISIBLE.search(text):
        code = f"U+{ord(found.group()):04X}"
        notes.add("invisible-character", f"the text holds {code}, which nobody sees.", at)
    if found := _MOJIBAKE.search(text):
        notes.add("mojibake", f"{found.group()!r} looks like UTF-8 that was read as Latin-1.", at)


def _check_order(messages: Sequence[Message], at: str, notes: Notes) -> None:
    before: Message | None = None
    for i, message in enumerate(messages):
        role = message.role
        opening = before is None or before.role in BEFORE
        if role in BEFORE:
            if not opening:
                notes.add("system-not-first", f"a {role} turn stands behind the first turns.", f"{at}[{i}]")
            elif before is not None:
                notes.add("role-order", f"a {before.role} and a {role} turn follow each other.", f"{at}[{i}]")
        elif role == "assistant" and opening:
            notes.add("starts-with-assistant", "the conversation opens with the assistant.", f"{at}[{i}]")
        elif before is not None and role == before.role and role != "tool":
            notes.add("role-order", f"two {role} turns follow each other.", f"{at}[{i}]")
        elif role == "assistant" and before is not None and message.content and message.content == before.content:
            notes.add("answer-repeats-prompt", "the answer is the same text as the turn before it.", f"{at}[{i}]")
        before = message


def _check_target(messages: Sequence[Message], at: str, notes: Notes) -> None:
    answers = [m for m in messages if m.role == "assistant"]
    last = messages[-1].role
    if not answers:
        ends = f"the conversation ends with the {last}" if last != "system" else "the conversation has no answer"
        message = f"{ends}, so it teaches nothing. Add the answer, or set data.on_no_target: drop."
        notes.add("no-answer", message, at)
    elif all(m.weight == 0 and not any(weight for _, _, weight in m.parts) for m in answers):
        message = "every assistant turn has weight 0, so it teaches nothing. Raise one, or set data.on_no_target: drop."
        notes.add("no-target", message, at)
    elif last != "assistant":
        notes.add("ends-with-user", f"the last turn is the {last}'s; nothing is learned from it.", at)


def _check_calls(messages: Sequence[Message], tools: Tools, at: str, notes: Notes) -> None:
    if not any(m.tool_calls or m.role == "tool" for m in messages):
        return
    defined = {tool_name(tool): tool for tool in tools}
    waiting: dict[Any, str] = {}
    seen: set[Any] = set()
    for i, message in enumerate(messages):
        here = f"{at}[{i}]"
        if message.role == "tool":
            _take_result(message, waiting, here, notes)
            continue
        _report_unanswered(waiting, here, notes)
        waiting = {}
        for j, call in enumerate(message.tool_calls):
            identity = call.get("id") or (i, j)
            if identity in seen:
                notes.add("duplicate-call-id", f"two tool calls have the id {identity!r}.", f"{here}.tool_calls[{j}]")
            seen.add(identity)
            waiting[identity] = str(tool_name(call))
            _check_call(call, defined, f"{here}.tool_calls[{j}]", notes)


def _report_unanswered(waiting: dict[Any, str], at: str, notes: Notes) -> None:
    for name in waiting.values():
        notes.add("unanswered-tool-call", f"the call of {name} got no result before this turn.", at)


def _take_result(message: Message, waiting: dict[Any, str], at: str, notes: Notes) -> None:
    identity = message.tool_call_id
    if identity in waiting:
        del waiting[identity]
    elif not waiting:
        notes.add("orphan-tool-result", "the tool's turn answers no call.", at)
    elif identity is None or all(isinstance(waits, tuple) for waits in waiting):
        del waiting[next(iter(waiting))]
    else:
        notes.add("orphan-tool-result", f"no call has the id {identity!r} that the tool's turn answers.", at)


def _check_call(call: Mapping[str, Any], defined: Mapping[Any, Mapping[str, Any]], at: str, notes: Notes) -> None:
    name = tool_name(call)
    if name not in defined:
        known = f"defined are {', '.join(sorted(map(str, defined)))[:120]}" if defined else "the record defines none"
        notes.add("unknown-tool", f"the tool {name} is called, but {known}.", at)
        return
    given = arguments_of(call)
    absent = [key for key in required_arguments(defined[name]) if key not in given]
    if absent:
        notes.add("missing-argument", f"the call of {name} lacks {', '.join(absent)}.", at)
