"""One turn of a conversation, as OpenAI's chat form and its relatives write it → Message.

The decision: content is kept exactly as it is written, tool calls included; what is only *another name* for the same
thing (content parts, weights under the peers' names, the older `function_call`) is brought into one form here.
"""

import difflib
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from tunesmith.data.example import Message
from tunesmith.data.formats.format import Notes
from tunesmith.data.formats.roles import ALIASES, MASKED, ROLES, WEIGHTS
from tunesmith.data.formats.tools import legacy_call, read_calls
from tunesmith.data.formats.weights import PARTS, Parts, flag_of, read_parts

REASONING = ("reasoning_content", "reasoning", "thinking")
_KNOWN = frozenset(
    (
        "role",
        "content",
        "name",
        "tool_calls",
        "tool_call_id",
        "function_call",
        "refusal",
        MASKED,
        *WEIGHTS,
        *PARTS,
        *REASONING,
    )
)
_TEXT_PARTS = ("text", "input_text", "output_text")
_REASONING_PARTS = ("reasoning", "thinking")


def read_turn(raw: Any, at: str, notes: Notes) -> Message | None:
    """The Message that `raw` writes, or None with a finding. `at` is its place in the record."""
    if not isinstance(raw, Mapping):
        notes.add("wrong-type", f"a turn is {_shown(raw)}, where an object with role and content is needed.", at)
        return None
    role, content = raw.get("role"), raw.get("content")
    if len(raw) == 2 and role in ROLES and isinstance(content, str):
        # Nearly every turn of nearly every file; the long way takes ten times as long.
        return Message(str(role), content)
    role = read_role(role, at, notes)
    if role is None:
        return None
    content, reasoning, calls, flagged = read_content(raw, at, notes)
    for key in raw:
        if key not in _KNOWN and (meant := _misspelled(key)):
            notes.add("unknown-key", f"the key {key!r} is not read; did you mean {meant!r}?", f"{at}.{key}")
    if raw.get("tool_calls") or raw.get("function_call"):
        calls += read_calls(raw.get("tool_calls") or legacy_call(raw["function_call"]), f"{at}.tool_calls", notes)
    return Message(
        role=role,
        content=content,
        weight=read_weight(raw, role, at, notes),
        reasoning=reasoning,
        tool_calls=calls,
        tool_call_id=_text_or_none(raw, "tool_call_id", at, notes),
        name=_text_or_none(raw, "name", at, notes),
        parts=read_parts(raw, content, flagged, role, at, notes),
    )


def read_role(raw: Any, at: str, notes: Notes) -> str | None:
    """One of our roles, or None with a finding."""
    if raw in ROLES:
        return str(raw)
    if not isinstance(raw, str):
        what = "has no role" if raw is None else f"has the role {_shown(raw)}"
        notes.add("missing-field" if raw is None else "unknown-role", f"the turn {what}.", f"{at}.role")
        return None
    if raw in ALIASES:
        notes.add("role-alias", f"the role {raw!r} was read as {ALIASES[raw]!r}.", f"{at}.role")
        return ALIASES[raw]
    near = difflib.get_close_matches(raw.strip().lower(), (*ROLES, *ALIASES), n=1)
    hint = f"; did you mean {near[0]!r}?" if near else f"; known are {', '.join(ROLES)}."
    notes.add("unknown-role", f"the role {raw[:40]!r} is unknown{hint}", f"{at}.role")
    return None


Content = tuple[str, str | None, tuple[Mapping[str, Any], ...], Parts]
"""Text, reasoning, tool calls, and the parts of the text that have a weight of their own."""


def read_content(raw: Mapping[str, Any], at: str, notes: Notes) -> Content:
    """What a turn says, be it text or content parts."""
    content = raw.get("content")
    reasoning = next((raw[key] for key in REASONING if isinstance(raw.get(key), str)), None)
    if content is None:
        refusal = raw.get("refusal")
        return (refusal if isinstance(refusal, str) else ""), reasoning, (), ()
    if isinstance(content, str):
        return content, reasoning, (), ()
    if not isinstance(content, list):
        notes.add("wrong-type", f"the content is {_shown(content)}, where text is needed.", f"{at}.content")
        return "", reasoning, (), ()
    return _read_parts(content, reasoning, f"{at}.content", notes)


def _read_parts(parts: list[Any], reasoning: str | None, at: str, notes: Notes) -> Content:
    text, thoughts = "", [] if reasoning is None else [reasoning]
    calls: tuple[Mapping[str, Any], ...] = ()
    flagged: Parts = ()
    for i, part in enumerate(parts):
        kind = part.get("type", "text") if isinstance(part, Mapping) else "text"
        words = part if isinstance(part, str) else _words(part, kind)
        if kind == "tool_call" and words is not None:
            calls += read_calls(words, f"{at}[{i}]", notes)
        elif words is not None and kind in (*_TEXT_PARTS, "refusal"):
            weight = flag_of(part, f"{at}[{i}]", notes) if isinstance(part, Mapping) else None
            flagged += ((len(text), len(text) + len(words), weight),) if weight is not None and words else ()
            text += words
        elif words is not None and kind in _REASONING_PARTS:
            thoughts.append(words)
        else:
            what = f"a part of type {kind!r}" if isinstance(part, Mapping) else f"a part that is {_shown(part)}"
            notes.add("unsupported-content", f"the turn holds {what}; only text can be learned.", f"{at}[{i}]")
    return text, "".join(thoughts) if thoughts else None, calls, flagged


def _words(part: Any, kind: Any) -> str | None:
    if not isinstance(part, Mapping):
        return None
    return next((part[key] for key in ("text", "value", "content", kind) if isinstance(part.get(key), str)), None)


def read_weight(raw: Mapping[str, Any], role: str, at: str, notes: Notes) -> float | None:
    """How much the turn counts under whichever name the weight is written; None where it is not."""
    weight = flag_of(raw, at, notes)
    if weight and role != "assistant":
        message = f"a weight of {weight:g} stands on a {role} turn; weights are read on assistant turns alone."
        notes.add("weight-not-on-assistant", message, at)
    return weight if role == "assistant" else None


@lru_cache(maxsize=1000)
def _misspelled(key: str) -> str | None:
    near = difflib.get_close_matches(key, _KNOWN, n=1, cutoff=0.8)
    return near[0] if near else None


def _text_or_none(raw: Mapping[str, Any], key: str, at: str, notes: Notes) -> str | None:
    value = raw.get(key)
    if value is None or isinstance(value, str):
        return value
    notes.add("wrong-type", f"{key} is {_shown(value)}, where text is needed.", f"{at}.{key}")
    return None


def _shown(value: Any) -> str:
    return f"{str(value)[:40]!r} ({type(value).__name__})"
