"""Tools and tool calls of a conversation.

The decision: what a call says is kept as it was written, never forced into a common schema; only the frame around it
is completed (`{type: function, function: {name, arguments}}`), because chat templates expect that frame.
"""

from collections.abc import Mapping
from typing import Any

import orjson

from tunesmith.data.formats.format import Notes

Tools = tuple[Mapping[str, Any], ...]


def legacy_call(call: Any) -> list[Any]:
    """OpenAI's older `function_call` as a list of tool calls."""
    return [{"type": "function", "function": call}]


def read_calls(raw: Any, at: str, notes: Notes) -> Tools:
    """The calls of one turn in OpenAI's form; `raw` is a list, one call, or JSON text of either."""
    calls = _decoded(raw)
    if isinstance(calls, Mapping):
        calls = [calls]
    if not isinstance(calls, list):
        notes.add("bad-tool-call", f"the tool call is {str(raw)[:60]!r}: no object with name and arguments.", at)
        return ()
    return tuple(call for i, c in enumerate(calls) if (call := _read_call(c, f"{at}[{i}]", notes)) is not None)


def _read_call(raw: Any, at: str, notes: Notes) -> Mapping[str, Any] | None:
    call = raw if isinstance(raw, Mapping) and "function" in raw else {"type": "function", "function": raw}
    function = call["function"]
    if not isinstance(function, Mapping) or not isinstance(function.get("name"), str) or not function["name"]:
        notes.add("bad-tool-call", "the tool call names no function.", at)
        return None
    _check_arguments(function.get("arguments"), function["name"], f"{at}.function.arguments", notes)
    return call


def _check_arguments(arguments: Any, name: str, at: str, notes: Notes) -> None:
    if arguments is None or isinstance(arguments, Mapping):
        return
    if isinstance(arguments, str):
        try:
            arguments = orjson.loads(arguments)
        except orjson.JSONDecodeError as error:
            notes.add("bad-arguments", f"the arguments of {name} are not valid JSON: {error}.", at)
            return
    if not isinstance(arguments, Mapping):
        notes.add("bad-arguments", f"the arguments of {name} are {str(arguments)[:40]!r}, no JSON object.", at)


def read_tools(raw: Any, at: str, notes: Notes) -> Tools:
    """The tools of a record in OpenAI's form; `raw` is a list or JSON text of one."""
    if raw is None or raw == "":
        return ()
    tools = _decoded(raw)
    if not isinstance(tools, list):
        notes.add("bad-tool-definition", f"{at} is {str(raw)[:40]!r}, where a list of tools is needed.", at)
        return ()
    read, names = [], set()
    for i, raw_tool in enumerate(tools):
        tool = raw_tool
        if isinstance(raw_tool, Mapping) and "function" not in raw_tool:
            tool = {"type": "function", "function": raw_tool}
        name = tool_name(tool)
        if name is None:
            notes.add("bad-tool-definition", "the tool has no name.", f"{at}[{i}]")
            continue
        if name in names:
            notes.add("duplicate-tool", f"two tools are named {name!r}.", f"{at}[{i}]")
        names.add(name)
        read.append(tool)
    return tuple(read)


def tool_name(tool: Any) -> str | None:
    """The name of the function in a tool or a call, None where there is none."""
    function = tool.get("function") if isinstance(tool, Mapping) else None
    name = function.get("name") if isinstance(function, Mapping) else None
    return name if isinstance(name, str) and name else None


def required_arguments(tool: Mapping[str, Any]) -> list[str]:
    """The arguments that a tool's JSON Schema requires."""
    parameters = tool["function"].get("parameters")
    required = parameters.get("required") if isinstance(parameters, Mapping) else None
    return [name for name in required if isinstance(name, str)] if isinstance(required, list) else []


def arguments_of(call: Mapping[str, Any]) -> Mapping[str, Any]:
    """The arguments of a call that has been read without a finding, as a mapping."""
    arguments = _decoded(call["function"].get("arguments"))
    return arguments if isinstance(arguments, Mapping) else {}


def _decoded(raw: Any) -> Any:
    if not isinstance(raw, str):
        return raw
    try:
        return orjson.loads(raw)
    except orjson.JSONDecodeError:
        return None
