"""Every kind of broken input that reading knows: one good file with one fault, which must be found at its line."""

import json
from pathlib import Path
from typing import Any

import pytest

from tunesmith.data.kinds import KINDS
from tunesmith.data.reading import read_examples

USER = {"role": "user", "content": "Where is my order?"}
BOT = {"role": "assistant", "content": "On its way."}
TOOL = {"type": "function", "function": {"name": "find", "parameters": {"type": "object", "required": ["id"]}}}


def _call(name: str = "find", arguments: Any = '{"id": 7}', identity: str = "c1") -> dict[str, Any]:
    call = {"id": identity, "type": "function", "function": {"name": name, "arguments": arguments}}
    return {"role": "assistant", "content": None, "tool_calls": [call]}


def _result(identity: str = "c1") -> dict[str, Any]:
    return {"role": "tool", "tool_call_id": identity, "content": "found"}


def _good(i: int) -> str:
    return json.dumps({"messages": [{"role": "user", "content": f"question {i}"}, BOT]})


def _talk(*turns: Any, **rest: Any) -> str:
    return json.dumps({"messages": list(turns), **rest})


def _asked(**assistant: Any) -> str:
    return _talk(USER, {**BOT, **assistant})


LINES: dict[str, tuple[str | bytes, str]] = {
    "cut off": ('{"messages": [{"role": "user"', "bad-json"),
    "trailing comma": ('{"messages": [],}', "bad-json"),
    "single quotes": ("{'messages': []}", "bad-json"),
    "python none": ('{"messages": None}', "bad-json"),
    "two records": (_good(1) + _good(2), "bad-json"),
    "comment": ("// a comment", "bad-json"),
    "raw control character": (b'{"messages": [{"role": "user", "content": "a\x01b"}]}', "bad-json"),
    "nul bytes": (b"\0" * 50, "bad-json"),
    "half written number": ('{"messages": [1.]}', "bad-json"),
    "unquoted key": ("{messages: []}", "bad-json"),
    "bad escape": (r'{"messages": [{"role": "user", "content": "C:\dir"}]}', "bad-json"),
    "latin-1": (json.dumps({"prompt": "ä"}, ensure_ascii=False).encode("latin-1"), "not-utf8"),
    "cut utf-8": (b'{"messages": "\xe2\x82"}', "not-utf8"),
    "lone surrogate": (r'{"messages": [{"role": "user", "content": "\ud83d"}]}', "lone-surrogate"),
    "nan": (_asked(score=float("nan")), "not-a-number"),
    "infinity": (_asked(score=float("-inf")), "not-a-number"),
    "overflowing float": (_asked().replace('"user"', '"user", "score": 1e999'), "not-a-number"),
    "huge integer": (_asked(identity=10**30), "huge-integer"),
    "duplicate key": ('{"messages": [], ' + _good(1)[1:], "duplicate-key"),
    "duplicate key inside": (_good(1).replace('"role": "user"', '"role": "system", "role": "user"'), "duplicate-key"),
    "deep nesting": ('{"messages": ' + "[" * 300 + "]" * 300 + "}", "deep-nesting"),
    "very deep nesting": ("[" * 100_000, "deep-nesting"),
    "a list": ("[1, 2]", "not-an-object"),
    "a string": ('"hello"', "not-an-object"),
    "a number": ("17", "not-an-object"),
    "null": ("null", "not-an-object"),
    "no fields": ("{}", "no-format"),
    "misspelled field": ('{"mesages": []}', "no-format"),
    "another format": ('{"instruction": "a", "output": "b"}', "mixed-formats"),
    "a sharegpt row": ('{"conversations": [{"from": "human", "value": "a"}]}', "mixed-formats"),
    "messages is text": ('{"messages": "hello"}', "no-format"),
    "no turns": (_talk(), "empty-conversation"),
    "turn is text": (_talk("hello", BOT), "wrong-type"),
    "content is a number": (_talk(USER, {"role": "assistant", "content": 7}), "wrong-type"),
    "content is an object": (_talk(USER, {"role": "assistant", "content": {"text": "a"}}), "wrong-type"),
    "no role": (_talk({"content": "a"}, BOT), "missing-field"),
    "unknown role": (_talk(USER, {"role": "asistant", "content": "a"}), "unknown-role"),
    "capital role": (_talk({"role": "User", "content": "a"}, BOT), "unknown-role"),
    "role is a number": (_talk({"role": 1, "content": "a"}, BOT), "unknown-role"),
    "foreign role": (_talk({"role": "human", "content": "a"}, BOT), "role-alias"),
    "user only": (_talk(USER), "no-answer"),
    "system only": (_talk({"role": "system", "content": "Be kind."}), "no-answer"),
    "empty answer": (_asked(content=""), "empty-answer"),
    "blank answer": (_asked(content=" \n\t"), "empty-answer"),
    "null answer": (_asked(content=None), "empty-answer"),
    "empty question": (_talk({"role": "user", "content": ""}, BOT), "empty-turn"),
    "blank system": (_talk({"role": "system", "content": "  "}, USER, BOT), "empty-turn"),
    "ends with user": (_talk(USER, BOT, USER), "ends-with-user"),
    "starts with assistant": (_talk(BOT, USER, BOT), "starts-with-assistant"),
    "late system": (_talk(USER, BOT, {"role": "system", "content": "x"}, USER, BOT), "system-not-first"),
    "two users": (_talk(USER, USER, BOT), "role-order"),
    "two answers": (_talk(USER, BOT, BOT), "role-order"),
    "outer white space": (_asked(content=" yes"), "answer-whitespace"),
    "answer of a data frame": (_asked(content="nan"), "placeholder-answer"),
    "answer is the question": (_asked(content=USER["content"]), "answer-repeats-prompt"),
    "zero-width space": (_asked(content="hid\u200bden"), "invisible-character"),
    "turned direction": (_asked(content="abc\u202edef"), "invisible-character"),
    "two systems": (_talk(*[{"role": "system", "content": "Be kind."}] * 2, USER, BOT), "role-order"),
    "nul in text": (_asked(content="a\0b"), "nul-character"),
    "lost character": (_asked(content="caf\ufffd"), "replacement-character"),
    "mojibake": (_asked(content="cafÃ©"), "mojibake"),
    "windows line ends": (_asked(content="a\r\nb"), "carriage-return"),
    "terminal colours": (_asked(content="\x1b[31mred"), "control-character"),
    "negative weight": (_asked(weight=-1), "bad-weight"),
    "weight is text": (_asked(weight="1"), "bad-weight"),
    "contradicting flags": (_asked(weight=1, train=False), "bad-weight"),
    "record weight is text": (_talk(USER, BOT, weight="high"), "bad-weight"),
    "weight is no number": (_asked(weight=float("nan")), "bad-weight"),
    "turns as text": (json.dumps({"messages": json.dumps([USER, BOT])}), "json-as-text"),
    "weight on user": (_talk({**USER, "weight": 1}, BOT), "weight-not-on-assistant"),
    "all weights zero": (_asked(weight=0), "no-target"),
    "parts beyond the end": (_asked(train_detail=[{"begin_offset": 0, "end_offset": 99, "train": True}]), "bad-parts"),
    "parts that overlap": (_asked(train_on=[[0, 2], [1, 3]]), "bad-parts"),
    "parts on a user": (_talk({**USER, "train_on": [[0, 1]]}, BOT), "weight-not-on-assistant"),
    "misspelled weight": (_asked(wieght=0), "unknown-key"),
    "image": (_talk({"role": "user", "content": [{"type": "image_url", "image_url": {}}]}, BOT), "unsupported-content"),
    "tools is a number": (_talk(USER, BOT, tools=7), "bad-tool-definition"),
    "tool without name": (_talk(USER, BOT, tools=[{"type": "function", "function": {}}]), "bad-tool-definition"),
    "same tool twice": (_talk(USER, BOT, tools=[TOOL, TOOL]), "duplicate-tool"),
    "call without name": (_talk(USER, _call(name=""), _result(), BOT, tools=[TOOL]), "bad-tool-call"),
    "arguments are no json": (_talk(USER, _call(arguments="{id: 7}"), _result(), BOT, tools=[TOOL]), "bad-arguments"),
    "arguments are a list": (_talk(USER, _call(arguments="[7]"), _result(), BOT, tools=[TOOL]), "bad-arguments"),
    "unknown tool": (_talk(USER, _call("search"), _result(), BOT, tools=[TOOL]), "unknown-tool"),
    "no tools defined": (_talk(USER, _call(), _result(), BOT), "unknown-tool"),
    "missing argument": (_talk(USER, _call(arguments="{}"), _result(), BOT, tools=[TOOL]), "missing-argument"),
    "same call id": (
        _talk(USER, _call(), _result(), _call(), _result(), BOT, tools=[TOOL]),
        "duplicate-call-id",
    ),
    "unanswered call": (_talk(USER, _call(), USER, BOT, tools=[TOOL]), "unanswered-tool-call"),
    "orphan result": (_talk(USER, _result(), BOT), "orphan-tool-result"),
    "result of another call": (_talk(USER, _call(), _result("c9"), BOT, tools=[TOOL]), "orphan-tool-result"),
}


@pytest.mark.parametrize("fault", LINES)
def test_a_fault_is_found_at_its_line_and_the_books_balance(fault: str, tmp_path: Path) -> None:
    broken, name = LINES[fault]
    raw = broken if isinstance(broken, bytes) else broken.encode()
    file = tmp_path / "data.jsonl"
    file.write_bytes(b"\n".join([*(_good(i).encode() for i in range(6)), raw, _good(7).encode()]) + b"\n")
    reading = read_examples(file)
    found = [(f.name, f.line) for f in reading.findings]
    assert (name, 7) in found
    assert {line for _, line in found} == {7}
    stops = KINDS[name].level == "stop"
    assert reading.dropped == ({name: 1} if stops else {})
    assert reading.read == 8 == len(reading.examples) + sum(reading.dropped.values())


def test_a_good_conversation_of_every_kind_gives_no_finding(tmp_path: Path) -> None:
    good = [
        _good(1),
        _talk({"role": "system", "content": "Be kind."}, USER, BOT, USER, {**BOT, "weight": 0.5}),
        _talk({"role": "developer", "content": "Be kind."}, USER, BOT),
        _talk(USER, _call(), _result(), BOT, tools=[TOOL], parallel_tool_calls=True),
        _talk(USER, _call(), tools=[TOOL]),
        _talk({"role": "user", "content": [{"type": "text", "text": "a"}]}, BOT),
        _talk(USER, {"role": "assistant", "content": None, "refusal": "I cannot help with that."}),
        _talk(USER, {**BOT, "reasoning_content": "They ask for the order."}),
        _talk({**USER, "weight": 0}, BOT),
        json.dumps({"messages": [USER, BOT], "note": 'a "quote": and a {"key": 1}'}),
        '{"messages" : [{"role" : "user", "content" : "a"}, {"role" : "assistant", "content" : "b"}]}',
    ]
    file = tmp_path / "data.jsonl"
    file.write_text("\n".join(good), encoding="utf-8")
    reading = read_examples(file)
    assert reading.findings == ()
    assert len(reading.examples) == len(good)


def test_a_line_beyond_the_limit_is_skipped_and_the_next_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tunesmith.data.records.LINE_LIMIT", 1000)
    file = tmp_path / "data.jsonl"
    file.write_text(_good(1) + "\n" + '{"messages": "' + "a" * 50_000 + '"}\n' + _good(2) + "\n")
    reading = read_examples(file)
    assert [(f.name, f.line) for f in reading.findings] == [("line-too-long", 2)]
    assert [e.origin.line for e in reading.examples] == [1, 3]


def test_every_kind_that_stops_a_record_can_be_reached_by_a_setting_or_is_damage() -> None:
    damage = {name for name, kind in KINDS.items() if kind.level == "stop" and kind.setting is None}
    assert damage == {"truncated-file", "rest-not-read"}


def test_at_least_sixty_kinds_of_broken_input_are_planted() -> None:
    assert len(LINES) >= 60


def test_names_are_kebab_case_and_sentences_end_with_a_point() -> None:
    for name, kind in KINDS.items():
        assert name == name.lower()
        assert " " not in name
        assert kind.meaning.endswith("."), name
        assert kind.remedy.endswith("."), name
