"""Ready tokens are read exactly, under the names that other tools give them."""

from typing import Any

import pytest

from tunesmith.data.duplicates import exact_twins
from tunesmith.data.example import Tokenized
from tunesmith.data.reading import read_examples

SAME: dict[str, dict[str, Any]] = {
    "labels": {"input_ids": [5, 6, 7, 8], "labels": [-100, -100, 7, 8]},
    "labels and attention": {
        "input_ids": [0, 5, 6, 7, 8, 0],
        "labels": [-100, -100, -100, 7, 8, -100],
        "attention_mask": [0, 1, 1, 1, 1, 0],
    },
    "a mask": {"input_ids": [5, 6, 7, 8], "completion_mask": [0, 0, 1, 1]},
    "our own": {"text": "abcd", "learned": [[2, 4, 1.0]], "ids": [5, 6, 7, 8], "weights": [0.0, 0.0, 1.0, 1.0]},
    "tokens and weights": {"tokens": [5, 6, 7, 8], "weights": [0, 0, 1, 1]},
}

FAULTS: dict[str, tuple[dict[str, Any], str]] = {
    "fewer weights than ids": ({"input_ids": [1, 2, 3], "weights": [0, 1]}, "bad-tokens"),
    "ids as text": ({"input_ids": [1, "2", 3]}, "bad-tokens"),
    "a negative id": ({"input_ids": [1, -2, 3]}, "bad-tokens"),
    "no ids": ({"input_ids": []}, "bad-tokens"),
    "a negative weight": ({"input_ids": [1, 2], "weights": [0, -1]}, "bad-weight"),
    "shifted labels": ({"input_ids": [1, 2, 3], "labels": [2, 3, -100]}, "bad-labels"),
    "foreign labels": ({"input_ids": [1, 2, 3], "labels": [-100, 2, 9]}, "bad-labels"),
    "a mask with a hole": ({"input_ids": [1, 2, 3], "labels": [1, 2, 3], "attention_mask": [1, 0, 1]}, "bad-tokens"),
    "no weights": ({"input_ids": [1, 2, 3]}, "all-learned"),
}


def rows(record: dict[str, Any]) -> list[Tokenized]:
    reading = read_examples([record])
    assert reading.format == "tokenized"
    assert not reading.dropped, reading.findings
    return [example for example in reading.examples if isinstance(example, Tokenized)]


@pytest.mark.parametrize("record", SAME.values(), ids=SAME)
def test_every_way_to_write_tokens_is_the_same_example(record: dict[str, Any]) -> None:
    (row,) = rows(record)
    assert row.ids.tolist() == [5, 6, 7, 8]
    assert row.weights.tolist() == [0, 0, 1, 1]


def test_weights_of_rows_and_tokens_multiply() -> None:
    (row,) = rows({"input_ids": [5, 6, 7], "weights": [0, 0.5, 1], "labels": [-100, 6, -100], "weight": 4})
    assert row.weights.tolist() == [0, 2, 0]


def test_a_packed_row_is_cut_where_positions_begin_anew() -> None:
    first, second = rows({"input_ids": [5, 6, 7, 8], "labels": [5, 6, 7, 8], "position_ids": [0, 1, 0, 1]})
    assert (first.ids.tolist(), second.ids.tolist()) == ([5, 6], [7, 8])


def test_the_same_tokens_are_found_twice_and_one_prompt_with_other_answers_stays_together() -> None:
    reading = read_examples([SAME["labels"], SAME["a mask"], {"input_ids": [5, 6, 9], "labels": [-100, -100, 9]}])
    twins = exact_twins(reading.examples)
    assert [(twin.kind, twin.origin.line, twin.other.line) for twin in twins] == [("same", 2, 1)]


@pytest.mark.parametrize(("record", "name"), FAULTS.values(), ids=FAULTS)
def test_a_fault_in_tokens_is_found(record: dict[str, Any], name: str) -> None:
    reading = read_examples([SAME["labels"], record])
    assert [(finding.name, finding.line) for finding in reading.findings] == [(name, 2)]
    assert reading.read == len(reading.examples) + sum(reading.dropped.values()) == 2
