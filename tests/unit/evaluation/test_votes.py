"""Votes on two answers whose owners are hidden."""

from pathlib import Path

import pytest

from tunesmith.errors import DataError
from tunesmith.evaluation.votes import load_votes, side, swapped, tally


def test_a_vote_goes_to_whose_answer_it_was_and_not_to_its_place() -> None:
    assert side("first", swapped=False) == "left"
    assert side("first", swapped=True) == "right"
    assert side("second", swapped=True) == "left"
    assert side("tie", swapped=True) == "tie"


def test_the_order_is_that_of_the_item_and_about_half_are_swapped() -> None:
    orders = [swapped(i, "a prompt") for i in range(400)]
    assert orders == [swapped(i, "a prompt") for i in range(400)]
    assert 150 < sum(orders) < 250


def test_ties_count_for_nobody_and_the_rate_has_its_interval() -> None:
    found = tally(["right"] * 6 + ["tie"] * 3)
    assert (found.left, found.right, found.ties, found.rate) == (0, 6, 3, 1.0)
    assert found.p == pytest.approx(0.03125)
    assert 0.5 < found.low < 0.7
    assert "6 of 6 decided votes for the second, 3 ties: 100.0% [61.0%, 100.0%]" in str(found)
    assert tally([]).rate == 0.5


def test_the_last_vote_on_an_item_counts_and_a_broken_line_is_named(tmp_path: Path) -> None:
    path = tmp_path / "votes.jsonl"
    assert load_votes(path) == {}
    path.write_text('{"index": 1, "vote": "left"}\n{"index": 1, "vote": "tie"}\n')
    assert load_votes(path) == {1: "tie"}
    path.write_text('{"index": 1, "vote": "maybe"}\n')
    with pytest.raises(DataError, match=r"votes\.jsonl:1"):
        load_votes(path)
