"""Message trees and preference data: what is learned of them, once, and what is not."""

import json
from pathlib import Path
from typing import Any

import pytest

from tunesmith.data.example import Example
from tunesmith.data.reading import Reading, read_examples
from tunesmith.data.split import split
from tunesmith.errors import UsageError


def _talks(reading: Reading) -> list[list[tuple[str, float | None]]]:
    return [[(m.content, m.weight) for m in e.messages] for e in reading.examples if isinstance(e, Example)]


def _node(text: str, role: str, *replies: dict[str, Any], **rest: Any) -> dict[str, Any]:
    return {"message_id": text, "text": text, "role": role, "lang": "en", "replies": list(replies), **rest}


TREE = _node(
    "Q",
    "prompter",
    _node("worse", "assistant", rank=1),
    _node(
        "best",
        "assistant",
        _node("more?", "prompter", _node("one", "assistant", rank=0), _node("two", "assistant", rank=1)),
        _node("thanks", "prompter"),
        rank=0,
    ),
    _node("gone", "assistant", deleted=True, rank=2),
    _node("spam", "assistant", review_result=False),
    _node("réponse", "assistant", lang="fr", rank=3),
)


def _rows(node: dict[str, Any], parent: str | None = None, tree: str = "Q") -> list[dict[str, Any]]:
    own = {key: value for key, value in node.items() if key != "replies"}
    rows = [{**own, "parent_id": parent, "message_tree_id": tree}]
    return rows + [row for reply in node["replies"] for row in _rows(reply, node["message_id"], tree)]


ALL: list[list[tuple[str, float | None]]] = [
    [("Q", None), ("best", None), ("more?", None), ("one", None)],
    [("Q", None), ("best", 0.0), ("more?", None), ("two", None)],
    [("Q", None), ("worse", None)],
    [("Q", None), ("réponse", None)],
]


@pytest.mark.parametrize(
    ("name", "paths"),
    [(None, ALL), ("tree", ALL), ("tree:best", ALL[:1]), ("tree:en", ALL[:3]), ("tree:best:en", ALL[:1])],
)
def test_each_answer_of_a_tree_is_learned_once_and_options_choose(name: str | None, paths: list[Any]) -> None:
    nested = read_examples([{"message_tree_id": "Q", "prompt": TREE}], format=name)
    rows = read_examples(_rows(TREE), format=name)
    assert _talks(nested) == _talks(rows) == paths
    assert nested.format == (name or "tree")


def test_rows_of_a_tree_may_stand_in_any_order_and_their_balance_holds() -> None:
    rows = _rows(TREE)
    reading = read_examples(rows[::-1])
    paths = sorted([text for text, _ in talk] for talk in _talks(reading))
    assert paths == sorted([text for text, _ in talk] for talk in ALL)
    # Not used are the deleted answer, the rejected one, and the thanks that nobody answers.
    assert (reading.read, reading.dropped) == (len(rows), {"not-on-a-path": 3})


def test_a_tree_without_an_answer_is_counted_as_dropped() -> None:
    reading = read_examples([{"prompt": TREE}, {"prompt": _node("Q", "prompter")}])
    assert (reading.read, reading.dropped) == (2, {"not-on-a-path": 1})


def test_the_paths_of_one_tree_stay_on_one_side() -> None:
    trees = [{"prompt": {**TREE, "text": f"Q{i}"}} for i in range(30)]
    parts = split(read_examples(trees).examples, validation=0.2, test=0.2)
    sides = [{e.messages[0].content for e in part if isinstance(e, Example)} for part in (parts.train, parts.test)]
    assert not sides[0] & sides[1]


def test_an_option_of_a_format_without_options_is_an_error() -> None:
    with pytest.raises(UsageError, match="no format 'messages:best'"):
        read_examples([{"messages": []}], format="messages:best")


ASKED = [("Q", None), ("A", None)]
TURN = {"role": "assistant", "content": "A"}
BAD = {"role": "assistant", "content": "B"}
PREFERRED: dict[str, dict[str, Any]] = {
    "texts": {"prompt": "Q", "chosen": "A", "rejected": "B"},
    "turns": {"prompt": [{"role": "user", "content": "Q"}], "chosen": [TURN], "rejected": [BAD]},
    "whole conversations": {
        "prompt": "Q",
        "chosen": [{"role": "user", "content": "Q"}, TURN],
        "rejected": [{"role": "user", "content": "Q"}, BAD],
    },
    "sharegpt": {
        "conversations": [{"from": "human", "value": "Q"}],
        "chosen": {"from": "gpt", "value": "A"},
        "rejected": {"from": "gpt", "value": "B"},
    },
    "openai": {
        "input": {"messages": [{"role": "user", "content": "Q"}], "tools": []},
        "preferred_output": [TURN],
        "non_preferred_output": [BAD],
    },
    "two conversations": {
        "chosen_messages": [{"role": "user", "content": [{"type": "text", "value": "Q"}]}, TURN],
        "rejected_messages": [{"role": "user", "content": [{"type": "text", "value": "Q"}]}, BAD],
    },
    "dialogues": {"chosen": "\n\nHuman: Q\n\nAssistant: A", "rejected": "\n\nHuman: Q\n\nAssistant: B"},
    "dialogue as prompt": {"prompt": "\n\nHuman: Q\n\nAssistant:", "chosen": "A", "rejected": "B"},
    "alpaca": {"instruction": "Q", "input": "", "chosen": "A", "rejected": "B"},
}


@pytest.mark.parametrize("shape", PREFERRED)
def test_the_preferred_answer_is_learned_and_the_other_mentioned(shape: str) -> None:
    reading = read_examples([PREFERRED[shape]])
    assert _talks(reading) == [ASKED]
    assert reading.format == "preference"
    assert [f.name for f in reading.findings] == ["rejected-unused"]


@pytest.mark.parametrize(
    "record",
    [
        {"prompt": "Q", "responses": ["B", "A", "C"], "ranks": [2, 1, 3]},
        {"prompt": "Q", "responses": ["B", "A", "C"], "scores": [0.1, 0.9, 0.5]},
    ],
)
def test_the_best_of_ranked_answers_is_learned(record: dict[str, Any]) -> None:
    assert _talks(read_examples([record])) == [ASKED]


def test_an_answer_marked_bad_is_never_learned(tmp_path: Path) -> None:
    rows: list[dict[str, Any]] = [{"prompt": "Q", "completion": "A", "label": mark} for mark in (True, False)]
    rows += [{"messages": [{"role": "user", "content": "Q"}, TURN], "label": mark} for mark in (True, False)]
    file = tmp_path / "kto.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    reading = read_examples(file)
    assert _talks(reading) == [ASKED, ASKED]
    assert reading.dropped == {"undesirable": 2}
