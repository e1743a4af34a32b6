"""Tool calls in an answer: what the model wrote, as the calls that it meant.

The decision: two ways of writing are understood, those that templates of open models teach most: `<tool_call>` around a
JSON object, and an answer that is such an object altogether. Anything else stays text, so nothing is ever lost.
"""

import json
import re
import secrets
from typing import Any

_CALL = re.compile(r"<tool_call>\s*(.*?)\s*</tool_call>", re.DOTALL)


def split_calls(text: str) -> tuple[str | None, list[dict[str, Any]]]:
    """The words beside the calls (None where there are none), and the calls.

    >>> content, calls = split_calls('<tool_call>{"name": "add", "arguments": {"a": 1}}</tool_call>')
    >>> content, calls[0]["function"]
    (None, {'name': 'add', 'arguments': '{"a": 1}'})
    """
    written = _CALL.findall(text)
    calls = [call for call in map(_call, written or [text]) if call is not None]
    if not calls or len(calls) < len(written):
        return text, []
    rest = _CALL.sub("", text).strip() if written else ""
    return rest or None, calls


def _call(text: str) -> dict[str, Any] | None:
    try:
        found = json.loads(text)
    except ValueError:
        return None
    if not isinstance(found, dict) or not isinstance(found.get("name"), str) or "arguments" not in found:
        return None
    arguments = found["arguments"]
    written = arguments if isinstance(arguments, str) else json.dumps(arguments, ensure_ascii=False)
    return {
        "id": f"call_{secrets.token_hex(12)}",
        "type": "function",
        "function": {"name": found["name"], "arguments": written},
    }
