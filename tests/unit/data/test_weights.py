"""How much a turn and its parts count, under every tool's names."""

from typing import Any

import pytest

from tunesmith.data.example import Example, Message
from tunesmith.data.reading import read_examples
from tunesmith.data.writing import FORMS

USER = {"role": "user", "content": "Q"}
FLAGS: dict[str, tuple[dict[str, Any], float | None]] = {
    "OpenAI": ({"weight": 0}, 0.0),
    "a number": ({"weight": 0.25}, 0.25),
    "Axolotl": ({"train": False}, 0.0),
    "Axolotl, older": ({"training": True}, 1.0),
    "ms-swift": ({"loss": False}, 0.0),
    "ms-swift, scaled": ({"loss_scale": 2.5}, 2.5),
    "LLaMA-Factory": ({"loss_weight": 0.5}, 0.5),
    "torchtune, masked": ({"masked": True}, 0.0),
    "torchtune, not masked": ({"masked": False}, None),
    "two that agree": ({"weight": 1, "train": True}, 1.0),
}
# Of "ab cd", "cd" is learned.
PARTS: dict[str, dict[str, Any]] = {
    "spans": {"content": "ab cd", "train_on": [[3, 5]]},
    "one span": {"content": "ab cd", "train_on": [3, 5]},
    "spans with weights": {"content": "ab cd", "weights": [[0, 3, 0], [3, 5, 1]]},
    "objects": {"content": "ab cd", "train_on": [{"start": 3, "end": 5}]},
    "Axolotl": {"content": "ab cd", "train_detail": [{"begin_offset": 3, "end_offset": 4, "train": True}]},
    "content parts": {"content": [{"type": "text", "text": "ab ", "weight": 0}, {"text": "cd", "train": True}]},
}


def answer(turn: dict[str, Any]) -> Message:
    learned = {"role": "assistant", "content": "B"}
    reading = read_examples([{"messages": [USER, {"role": "assistant", "content": "A", **turn}, USER, learned]}])
    assert not reading.findings
    (example,) = reading.examples
    assert isinstance(example, Example)
    return example.messages[1]


@pytest.mark.parametrize(("flags", "weight"), FLAGS.values(), ids=FLAGS)
def test_every_flag_of_a_turn_is_read(flags: dict[str, Any], weight: float | None) -> None:
    assert answer(flags).weight == weight


@pytest.mark.parametrize("turn", PARTS.values(), ids=PARTS)
def test_every_way_to_mark_parts_means_the_same(turn: dict[str, Any]) -> None:
    found = answer(turn)
    assert found.content == "ab cd"
    assert found.parts == ((0, 3, 0.0), (3, 5, 1.0))


@pytest.mark.parametrize("turn", PARTS.values(), ids=PARTS)
def test_parts_survive_being_written_and_read_again(turn: dict[str, Any]) -> None:
    reading = read_examples([{"messages": [USER, {"role": "assistant", **turn}]}])
    (example,) = reading.examples
    assert isinstance(example, Example)
    again = read_examples([FORMS["messages"].row(example)])
    assert [e.messages for e in again.examples if isinstance(e, Example)] == [example.messages]


def test_a_task_in_several_templates_gives_an_example_for_each() -> None:
    reading = read_examples([{"inputs": ["Is it so?", "True or false?"], "targets": ["yes", "true"]}])
    assert reading.format == "flan"
    said = [[m.content for m in e.messages] for e in reading.examples if isinstance(e, Example)]
    assert said == [["Is it so?", "yes"], ["True or false?", "true"]]


def test_a_task_with_a_broken_template_is_dropped_whole() -> None:
    reading = read_examples([{"inputs": ["Is it so?", "True?"], "targets": ["yes", ""]}])
    assert not reading.examples
    assert reading.dropped == {"empty-answer": 1}
