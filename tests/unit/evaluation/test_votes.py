"""Votes on two answers whose owners are hidden."""

import json
from pathlib import Path

import pytest

from tunesmith.errors import DataError
from tunesmith.evaluation.item import Item
from tunesmith.evaluation.votes import Contest, Side, load_votes, side, swapped, tally


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


CONTEST = Contest(("A", "B"), [Item(f"a {i}", "r", prompt=f"p {i}") for i in range(3)], [Item("b", "r")] * 3)


def kept(path: Path, contest: Contest, *votes: tuple[int, Side]) -> Path:
    path.write_text("".join(json.dumps(contest.line(place, vote)) + "\n" for place, vote in votes))
    return path


def test_the_last_vote_on_an_item_counts_and_a_broken_line_is_named(tmp_path: Path) -> None:
    path = tmp_path / "votes.jsonl"
    assert load_votes(path, CONTEST) == ({}, 0)
    kept(path, CONTEST, (1, "left"), (2, "right"), (1, "tie"))
    assert load_votes(path, CONTEST) == ({1: "tie", 2: "right"}, 0)
    path.write_text('{"index": 1, "vote": "maybe"}\n')
    with pytest.raises(DataError, match=r"votes\.jsonl:1"):
        load_votes(path, CONTEST)


def test_a_vote_says_what_was_compared_and_what_was_shown_first() -> None:
    line = CONTEST.line(1, "right")
    assert (line["left"], line["right"], line["index"], line["vote"]) == ("A", "B", 1, "right")
    assert line["first"] == ("right" if swapped(1, "p 1") else "left")
    assert len({CONTEST.item(i) for i in range(3)}) == 3


def test_votes_on_other_answers_are_refused_whatever_the_models_are_called(tmp_path: Path) -> None:
    path = kept(tmp_path / "votes.jsonl", CONTEST, (1, "left"))
    same = Contest(("runs/A", "runs/B"), CONTEST.left, CONTEST.right)
    assert load_votes(path, same)[0] == {1: "left"}
    for other in (
        Contest(("A", "B"), CONTEST.left, [Item("c", "r")] * 3), Contest(("B", "A"), CONTEST.right, CONTEST.left),
        Contest(("A", "C"), CONTEST.left[:1], CONTEST.right[:1]),
    ):  # fmt: skip
        with pytest.raises(DataError, match=r"votes\.jsonl:1: a vote on other answers, A against B.*--votes OTHER"):
            load_votes(path, other)
    fewer = Contest(("A", "B"), CONTEST.left[:1], CONTEST.right[:1])
    assert load_votes(path, fewer)[0] == {1: "left"}


def test_votes_of_an_older_version_count_and_are_told_of(tmp_path: Path) -> None:
    path = tmp_path / "votes.jsonl"
    path.write_text('{"index": 1, "vote": "left"}\n' + json.dumps(CONTEST.line(2, "tie")) + "\n")
    assert load_votes(path, CONTEST) == ({1: "left", 2: "tie"}, 1)
