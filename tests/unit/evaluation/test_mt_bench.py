"""MT-Bench: turns are marked and preferred by the prompts of the benchmark, beside references where there are any."""

from collections.abc import Sequence

import pytest

from tunesmith.data.example import Message
from tunesmith.errors import DataError
from tunesmith.evaluation.mt_bench import (
    OURS,
    Talk,
    longer_marks,
    mark,
    mark_warnings,
    mean_mark,
    preferred_talks,
    rated,
)


@pytest.mark.parametrize(("text", "found"), [("Rating: [[7]]", 7.0), ("[[7.5]]", 7.5), ("[[11]]", None), ("7", None)])
def test_a_mark_is_one_to_ten(text: str, found: float | None) -> None:
    assert mark(text) == found


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


PAIRS = {
    "pair-v2": {"system_prompt": "v2", "prompt_template": "{question}|{answer_a}|{answer_b}"},
    "pair-v2-multi-turn": {
        "system_prompt": "v2 multi", "prompt_template": "{question_1}{question_2}|{answer_a_1}{answer_a_2}|{answer_b_2}"
    },
    "pair-math-v1": {"system_prompt": "math", "prompt_template": "{ref_answer_1}|{answer_a}|{answer_b}"},
    "pair-math-v1-multi-turn": {
        "system_prompt": "", "prompt_template": "{ref_answer_1}{ref_answer_2}|{answer_a_2}|{answer_b_1}{answer_b_2}"
    },
}  # fmt: skip


def test_pairs_are_shown_turn_by_turn_in_both_orders_with_the_references() -> None:
    seen: list[Sequence[Message]] = []

    def judge(asked: Sequence[Sequence[Message]]) -> list[str]:
        seen.extend(asked)
        return ["[[A]]"] * 4 + ["[[B]]", "[[A]]", "[[B]]", "?"]

    ours = [Talk(("q", "r"), ("a", "b")), Talk(("q", "r"), ("a", "b"), ("x", "y"))]
    theirs = [Talk(("q", "r"), ("c", "d")), Talk(("q", "r"), ("c", "d"), ("x", "y"))]
    found = preferred_talks(judge, PAIRS, ours, theirs)
    assert [messages[-1].content for messages in seen] == [
        "q|a|c", "qr|ab|d", "x|a|c", "xy|b|cd", "q|c|a", "qr|cd|b", "x|c|a", "xy|d|ab",
    ]  # fmt: skip
    assert [messages[0].content for messages in seen[:3]] == ["v2", "v2 multi", "math"]
    assert (found.points, found.agreed, found.unread) == ((1.0, 0.5, 1.0, 1.0), 2, 1)
    assert (found.rate.value, found.rate.items) == (0.875, 2)


def test_our_own_prompts_for_pairs_show_everything_that_those_of_the_benchmark_show() -> None:
    seen: list[Sequence[Message]] = []

    def judge(asked: Sequence[Sequence[Message]]) -> list[str]:
        seen.extend(asked)
        return ["[[C]]"] * len(asked)

    known = [
        Talk(("question1", "question2"), (f"{who}1", f"{who}2"), ("right1", "right2")) for who in ("ours", "their")
    ]
    preferred_talks(judge, OURS, known[:1], known[1:])
    for turn in range(2):
        text = seen[turn][-1].content
        shown = [f"{name}{number + 1}" for name in ("question", "ours", "their", "right") for number in range(turn + 1)]
        assert all(text.count(part) >= 1 for part in shown)
        assert text.index("ours1") < text.index("their1")
        assert "{" not in text


def test_a_prompt_that_is_missing_is_named() -> None:
    talk = [Talk(("q", "r"), ("a", "b"))]
    with pytest.raises(DataError, match="pair-v2-multi-turn"):
        preferred_talks(lambda asked: [], {"pair-v2": PAIRS["pair-v2"]}, talk, talk)
    with pytest.raises(DataError, match="single-v1"):
        rated(lambda asked: [], {}, talk)
