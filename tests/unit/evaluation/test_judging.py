"""A judge is read strictly, shown both orders, and guarded."""

from collections.abc import Sequence

import pytest

from tunesmith.data.example import Message
from tunesmith.evaluation.judging import (
    NOTHING,
    Preferences,
    compare_answers,
    longer_wins,
    preferred,
    verdict,
    warnings,
)

REQUESTS = [[Message("user", f"question {i}")] for i in range(4)]


def likes_good(asked: Sequence[Sequence[Message]]) -> list[str]:
    """Prefers the answer that says good; at a tie says so."""
    said = []
    for messages in asked:
        first, second = messages[-1].content.split("[Answer A]")[1].split("[Answer B]")
        good = ["good" in text for text in (first, second)]
        said.append("Because. [[C]]" if good[0] == good[1] else "Because. [[A]]" if good[0] else "So: [[B]]")
    return said


def likes_first(asked: Sequence[Sequence[Message]]) -> list[str]:
    return ["[[A]]" for _ in asked]


def test_a_better_answer_wins_in_both_orders() -> None:
    found = compare_answers(likes_good, REQUESTS, ["good", "good", "bad", "bad"], ["bad", "good", "good", "bad"])
    assert found.points == (1.0, 0.5, 0.0, 0.5)
    assert (found.agreed, found.unread) == (4, 0)
    assert found.rate.value == 0.5


def test_a_judge_who_goes_by_the_place_makes_nobody_win() -> None:
    found = compare_answers(likes_first, REQUESTS, ["a"] * 4, ["b"] * 4)
    assert found.points == (0.5,) * 4
    assert found.agreed == 0


def test_a_pair_that_is_won_in_one_order_and_even_in_the_other_is_even() -> None:
    pair = ([Message("user", "ours first")], [Message("user", "ours second")])
    found = preferred(lambda asked: ["[[A]]" if "first" in m[0].content else "[[C]]" for m in asked], [pair])
    assert (found.points, found.agreed) == ((0.5,), 0)
    half = preferred(lambda asked: ["[[A]]" if "first" in m[0].content else "?" for m in asked], [pair])
    assert (half.points, half.unread) == ((1.0,), 1)


def test_turns_of_one_question_are_one_item_of_the_interval() -> None:
    turns = tuple(float(i // 2 % 2) for i in range(40))
    alone, together = Preferences(turns, 40, 0).rate, Preferences(turns, 40, 0, together=2).rate
    assert (alone.value, together.value, alone.items, together.items) == (0.5, 0.5, 40, 20)
    assert together.high - together.low > 1.2 * (alone.high - alone.low)
    assert Preferences((1.0, None, None, None), 1, 3, together=2).rate.items == 1


def test_what_cannot_be_read_counts_for_nobody() -> None:
    found = compare_answers(lambda asked: ["who knows"] * len(asked), REQUESTS, ["a"] * 4, ["b"] * 4)
    assert found.points == (None,) * 4
    assert found.unread == 8
    assert (found.rate.items, found.rate.low, found.rate.high) == (0, 0.0, 1.0)


@pytest.mark.parametrize(
    ("text", "found"), [("[[A]]", 1.0), ("first [[A]] no: [[B]]", 0.0), ("[[C]].", 0.5), ("A", None), ("[[D]]", None)]
)
def test_the_last_verdict_counts(text: str, found: float | None) -> None:
    assert verdict(text) == found


def test_a_judge_that_is_fooled_or_likes_length_is_warned_of() -> None:
    fooled = Preferences((1.0,) * 10, 10, 0)
    honest = compare_answers(likes_good, REQUESTS, [NOTHING] * 4, ["good"] * 4)
    longer = longer_wins([1.0] * 10, ["a long answer"] * 10, ["short"] * 10)
    even = longer_wins([1.0, 0.0, 0.5, None], ["longer"] * 4, ["short"] * 4)
    assert (longer.value, even.value, even.items) == (1.0, 0.5, 2)
    assert warnings(honest, even) == []
    assert len(warnings(fooled, longer)) == 2
