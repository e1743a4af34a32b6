"""A judge is read strictly, shown both orders, and guarded."""

from collections.abc import Sequence

import pytest

from tunesmith.data.example import Message
from tunesmith.evaluation.judging import (
    NOTHING,
    Preferences,
    Talk,
    compare_answers,
    longer_marks,
    longer_wins,
    mark,
    mark_warnings,
    mean_mark,
    rated,
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


@pytest.mark.parametrize(("text", "found"), [("Rating: [[7]]", 7.0), ("[[7.5]]", 7.5), ("[[11]]", None), ("7", None)])
def test_a_mark_is_one_to_ten(text: str, found: float | None) -> None:
    assert mark(text) == found


def test_a_judge_that_is_fooled_or_likes_length_is_warned_of() -> None:
    fooled = Preferences((1.0,) * 10, 10, 0)
    honest = compare_answers(likes_good, REQUESTS, [NOTHING] * 4, ["good"] * 4)
    longer = longer_wins([1.0] * 10, ["a long answer"] * 10, ["short"] * 10)
    even = longer_wins([1.0, 0.0, 0.5, None], ["longer"] * 4, ["short"] * 4)
    assert (longer.value, even.value, even.items) == (1.0, 0.5, 2)
    assert warnings(honest, even) == []
    assert len(warnings(fooled, longer)) == 2


def test_both_turns_are_marked_by_the_prompts_of_the_benchmark() -> None:
    prompts = {
        "single-v1": {"system_prompt": "s", "prompt_template": "{question} {answer}"},
        "single-v1-multi-turn": {"system_prompt": "", "prompt_template": "{question_2} {answer_2} {kept}"},
        "single-math-v1": {"system_prompt": "m", "prompt_template": "{ref_answer_1} {answer}"},
        "single-math-v1-multi-turn": {"system_prompt": "m", "prompt_template": "{ref_answer_2}"},
    }
    seen: list[Sequence[Message]] = []

    def judge(asked: Sequence[Sequence[Message]]) -> list[str]:
        seen.extend(asked)
        return [f"[[{n}]]" for n in range(1, len(asked) + 1)]

    talks = [Talk(("q1", "q2"), ("a1", "a2")), Talk(("q1", "q2"), ("a1", "a2"), ("r1", "r2"))]
    assert rated(judge, prompts, talks) == [[1.0, 2.0], [3.0, 4.0]]
    assert [messages[-1].content for messages in seen] == ["q1 a1", "q2 a2 {kept}", "r1 a1", "r2"]
    assert [messages[0].role for messages in seen] == ["system", "user", "system", "system"]


def test_longer_answers_that_are_marked_higher_are_told() -> None:
    talks = [Talk(("q", "r"), ("a" * (1 + i % 2 * 9), "b" * (1 + i % 2 * 9))) for i in range(20)]
    marks: list[list[float | None]] = [[8.0, 9.0] if i % 2 else [3.0, None] for i in range(20)]
    longer = longer_marks(talks, marks)
    assert longer is not None
    assert longer.value == pytest.approx(5.5)
    assert any("get 5.5" in text for text in mark_warnings(None, longer))
    assert longer_marks(talks, [[None, None]] * 20) is None
    assert mean_mark([[None, None]]) is None
    found = mean_mark(marks)
    assert found is not None
    assert found.value == pytest.approx((10 * 17 + 10 * 3) / 30)
