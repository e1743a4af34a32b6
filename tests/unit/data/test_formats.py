"""Each format gives the conversation that its record means."""

import json
from pathlib import Path
from typing import Any

import pytest

from tunesmith.data.example import Example, Message, Passage
from tunesmith.data.reading import Reading, read_examples

Turn = tuple[str, str]


def _one(record: dict[str, Any], **options: Any) -> Example:
    reading = read_examples([record], **options)
    assert not [f for f in reading.findings if f.level != "note"], reading.findings
    (example,) = reading.examples
    assert isinstance(example, Example)
    return example


def _turns(record: dict[str, Any], **options: Any) -> list[Turn]:
    return [(m.role, m.content) for m in _one(record, **options).messages]


ASKED: list[Turn] = [("user", "Q"), ("assistant", "A")]
SAME_TALK: dict[str, tuple[str, dict[str, Any], list[Turn]]] = {
    "messages": (
        "messages",
        {"messages": [{"role": "user", "content": "Q"}, {"role": "assistant", "content": "A"}]},
        ASKED,
    ),
    "content parts": (
        "messages",
        {
            "messages": [
                {"role": "user", "content": [{"type": "text", "text": "Q"}]},
                {"role": "assistant", "content": [{"type": "text", "value": "A"}]},
            ]
        },
        ASKED,
    ),
    "prompt and completion": ("prompt_completion", {"prompt": "Q", "completion": "A"}, ASKED),
    "alpaca": ("alpaca", {"instruction": "Q", "input": "", "output": "A"}, ASKED),
    "alpaca with input": (
        "alpaca",
        {"instruction": "Q", "input": "I", "output": "A"},
        [("user", "Q\n\nI"), ("assistant", "A")],
    ),
    "alpaca with system and history": (
        "alpaca",
        {"instruction": "Q", "output": "A", "system": "S", "history": [["q", "a"]]},
        [("system", "S"), ("user", "q"), ("assistant", "a"), *ASKED],
    ),
    "dolly": (
        "dolly",
        {"instruction": "Q", "context": "C", "response": "A", "category": "qa"},
        [("user", "Q\n\nC"), ("assistant", "A")],
    ),
    "flan": ("flan", {"inputs": "Q", "targets": "A"}, ASKED),
    "self-instruct": (
        "self_instruct",
        {"instruction": "Q", "instances": [{"input": "", "output": "A"}], "is_classification": False},
        ASKED,
    ),
    "sharegpt": (
        "sharegpt",
        {"conversations": [{"from": "human", "value": "Q"}, {"from": "gpt", "value": "A"}]},
        ASKED,
    ),
    "sharegpt in messages": (
        "sharegpt",
        {"messages": [{"from": "human", "value": "Q"}, {"from": "gpt", "value": "A"}]},
        ASKED,
    ),
    "sharegpt with system": (
        "sharegpt",
        {"system": "S", "conversations": [{"from": "user", "value": "Q"}, {"role": "model", "content": "A"}]},
        [("system", "S"), *ASKED],
    ),
    "exchanges": (
        "sharegpt",
        {"conversation": [{"system": "S", "input": "Q", "output": "A"}]},
        [("system", "S"), *ASKED],
    ),
    "lima": ("sharegpt", {"conversations": ["Q", "A", "q", "a"]}, [*ASKED, ("user", "q"), ("assistant", "a")]),
    "classification": ("classification", {"text": "Q", "label": "A"}, ASKED),
    "named class beside its number": ("classification", {"text": "Q", "label": 3, "label_text": "A"}, ASKED),
    "category": ("classification", {"text": "Q", "category": "A"}, ASKED),
}


@pytest.mark.parametrize("case", SAME_TALK)
def test_a_record_gives_the_conversation_that_it_means_and_its_format_is_recognised(case: str) -> None:
    name, record, turns = SAME_TALK[case]
    assert _turns(record) == turns
    assert read_examples([record]).format == name


@pytest.mark.parametrize("key", ["weight", "train", "training", "loss", "loss_scale", "loss_weight"])
@pytest.mark.parametrize(("written", "meant"), [(0, 0.0), (1, 1.0), (0.25, 0.25), (2.5, 2.5), (True, 1.0)])
def test_every_peers_weight_is_read_and_floats_count(key: str, written: float, meant: float) -> None:
    turns = [{"role": "user", "content": "Q"}, {"role": "assistant", "content": "A", key: written}]
    two = [*turns, {"role": "user", "content": "Q"}, {"role": "assistant", "content": "A"}]
    assert [m.weight for m in _one({"messages": two}).messages] == [None, meant, None, None]
    shared = [{"from": "human", "value": "Q"}, {"from": "gpt", "value": "A", key: written}]
    shared += [{"from": "human", "value": "Q"}, {"from": "gpt", "value": "A"}]
    assert [m.weight for m in _one({"conversations": shared}).messages] == [None, meant, None, None]


def test_tool_calls_survive_byte_for_byte() -> None:
    arguments = '{"b": 1,   "a": [1.0, 1e3, "\\u00e9"]}'
    call = {"id": "c1", "type": "function", "function": {"name": "f", "arguments": arguments}, "index": 0}
    tool = {"type": "function", "function": {"name": "f", "strict": True, "parameters": {"x-own": None}}}
    turns = [
        {"role": "user", "content": "Q"},
        {"role": "assistant", "content": None, "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "c1", "name": "f", "content": "R"},
        {"role": "assistant", "content": "A", "reasoning_content": "because"},
    ]
    example = _one({"messages": turns, "tools": [tool]})
    assert example.tools == (tool,)
    assert example.messages[1].tool_calls == (call,)
    assert example.messages[2] == Message("tool", "R", tool_call_id="c1", name="f")
    assert example.messages[3].reasoning == "because"


def test_older_and_bare_calls_get_the_frame_that_templates_expect() -> None:
    function = {"name": "f", "arguments": {"a": 1}}
    framed = {"type": "function", "function": function}
    tools = [{"name": "f", "parameters": {}}]
    old = [{"role": "user", "content": "Q"}, {"role": "assistant", "content": None, "function_call": function}]
    assert _one({"messages": old, "functions": tools}).messages[1].tool_calls == (framed,)
    shared = [
        {"from": "human", "value": "Q"},
        {"from": "function_call", "value": json.dumps(function)},
        {"from": "observation", "value": "R"},
        {"from": "gpt", "value": "A"},
    ]
    example = _one({"conversations": shared, "tools": json.dumps(tools)})
    assert [m.role for m in example.messages] == ["user", "assistant", "tool", "assistant"]
    assert example.messages[1].tool_calls == (framed,)
    assert example.tools == ({"type": "function", "function": tools[0]},)


def test_parts_of_reasoning_and_calls_are_told_from_text() -> None:
    parts = [
        {"type": "reasoning", "value": "think"},
        {"type": "tool_call", "value": '{"name": "f", "arguments": {}}'},
    ]
    turns = [{"role": "user", "content": "Q"}, {"role": "assistant", "content": parts}]
    example = _one({"messages": turns, "tools": [{"name": "f"}]})
    assert example.messages[1].reasoning == "think"
    assert [call["function"]["name"] for call in example.messages[1].tool_calls] == ["f"]


def test_of_a_conversational_prompt_only_the_completion_is_learned() -> None:
    prompt = [
        {"role": "user", "content": "q"},
        {"role": "assistant", "content": "a"},
        {"role": "user", "content": "Q"},
    ]
    example = _one({"prompt": prompt, "completion": [{"role": "assistant", "content": "A"}]})
    assert [m.weight for m in example.messages] == [None, 0.0, None, None]


def test_nulls_that_a_table_fills_in_are_absent_fields() -> None:
    turns: list[dict[str, Any]] = [
        {"role": "user", "content": "Q", "tool_calls": None, "name": None, "weight": None},
        {"role": "assistant", "content": "A", "tool_calls": None, "name": None, "weight": None},
    ]
    example = _one({"messages": turns, "tools": None, "weight": None})
    assert [m.weight for m in example.messages] == [None, None]
    assert example.tools == ()
    assert example.weight == 1.0


@pytest.mark.parametrize(
    ("field", "turns"),
    [
        ("messages", [{"role": "user", "content": "Q"}, {"role": "assistant", "content": "A"}]),
        ("conversations", [{"from": "human", "value": "Q"}, {"from": "gpt", "value": "A"}]),
    ],
)
def test_turns_that_a_table_holds_as_json_text_are_read(field: str, turns: list[dict[str, str]]) -> None:
    assert _turns({field: json.dumps(turns)}) == ASKED


def test_a_numeric_class_is_warned_of() -> None:
    reading = read_examples([{"text": "Q", "label": 3}])
    assert [f.name for f in reading.findings] == ["numeric-label"]
    assert isinstance(reading.examples[0], Example)
    assert reading.examples[0].messages[1].content == "3"


def test_text_is_a_passage(tmp_path: Path) -> None:
    assert read_examples([{"text": "words", "url": "u"}]).examples[0].text == "words"  # type: ignore[union-attr]
    (tmp_path / "a.md").write_text("# Title\n\nWords.")
    (passage,) = read_examples(tmp_path / "a.md").examples
    assert passage == Passage("# Title\n\nWords.", passage.origin)


@pytest.mark.parametrize(
    ("record", "path"),
    [
        ({"instruction": "Q", "input": "", "output": ""}, "output"),
        ({"instruction": "", "input": "", "output": "A"}, "instruction"),
        ({"prompt": "Q", "completion": 7}, "completion"),
        ({"messages": [{"role": "user", "content": "Q"}, {"role": "assistant", "content": ""}]}, "messages[1].content"),
        ({"messages": [{"role": "user", "content": "Q"}, {"role": "asistant", "content": ""}]}, "messages[1].role"),
    ],
)
def test_a_finding_names_the_place_in_the_record(record: dict[str, Any], path: str) -> None:
    reading: Reading = read_examples([record])
    assert path in [f.path for f in reading.findings]
