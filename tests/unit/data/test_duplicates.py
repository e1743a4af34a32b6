"""Duplicates, contradictions and leaks."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tunesmith.data.duplicates import exact_leaks, exact_twins, similarity
from tunesmith.data.example import Example, Message, Origin, Passage


def _example(prompt: str, answer: str, line: int) -> Example:
    return Example((Message("user", prompt), Message("assistant", answer)), Origin("a.jsonl", line))


@pytest.mark.parametrize(
    ("a", "b", "share"),
    [
        ("", "", 1.0),
        ("", "a", 0.0),
        ("a b", "A  b", 1.0),
        ("a b c d", "a b c e", 1 / 3),
        ("a b c d", "d c b a", 0.0),
        ("one two three four five", "one two three", 1 / 3),
    ],
)
def test_similarity_is_the_share_of_common_runs(a: str, b: str, share: float) -> None:
    assert similarity(a, b) == pytest.approx(share)


@given(st.text(), st.text())
def test_similarity_is_symmetric_between_0_and_1_and_1_for_the_same(a: str, b: str) -> None:
    assert similarity(a, b) == similarity(b, a)
    assert 0 <= similarity(a, b) <= 1
    assert similarity(a, a) == 1


def test_repeated_and_contradicting_examples_point_to_the_earlier_one() -> None:
    examples = [_example("Q", "A", 1), _example("Q", "A ", 2), _example("Q", "B", 3), _example("R", "A", 4)]
    twins = exact_twins([*examples, Passage("x", Origin("t", 1)), Passage("x", Origin("t", 2))])
    assert [(t.kind, t.origin.line, t.earlier.line) for t in twins] == [
        ("same", 2, 1),
        ("conflict", 3, 1),
        ("same", 2, 1),
    ]


def test_a_prompt_of_training_in_the_held_out_data_is_a_leak() -> None:
    leaks = exact_leaks([_example("Q", "A", 1)], [_example("R", "A", 1), _example("Q", "other", 2)])
    assert [(t.origin.line, t.earlier.line) for t in leaks] == [(2, 1)]
