"""The split: by prompt, independent of order, of the promised size."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tunesmith.data.example import Example, Message, Origin, Passage
from tunesmith.data.split import Split, prompt_key, split
from tunesmith.errors import RecipeError


def _example(prompt: str, answer: str, line: int = 1) -> Example:
    return Example((Message("user", prompt), Message("assistant", answer)), Origin("a.jsonl", line))


def _many(n: int) -> list[Example]:
    return [_example(f"question {i}", "A", i + 1) for i in range(n)]


def _parts(parts: Split) -> tuple[tuple[Example | Passage, ...], ...]:
    return parts.train, parts.validation, parts.test


def _sizes(parts: Split) -> tuple[int, ...]:
    return tuple(len(part) for part in _parts(parts))


@pytest.mark.parametrize(
    ("n", "sizes"), [(1000, (900, 50, 50)), (100, (90, 5, 5)), (20, (18, 1, 1)), (9, (9, 0, 0)), (1, (1, 0, 0))]
)
def test_the_parts_have_the_promised_sizes(n: int, sizes: tuple[int, ...]) -> None:
    assert _sizes(split(_many(n), validation=0.05, test=0.05)) == sizes


def test_a_share_of_zero_sets_nothing_aside() -> None:
    assert _sizes(split(_many(100), validation=0.0, test=0.0)) == (100, 0, 0)


@given(
    st.lists(st.tuples(st.integers(0, 30), st.integers(0, 3)), max_size=80),
    st.floats(0, 0.49),
    st.floats(0, 0.49),
    st.randoms(use_true_random=False),
)
def test_prompts_stay_together_and_the_order_of_the_file_does_not_matter(
    rows: list[tuple[int, int]], validation: float, test: float, chance: random.Random
) -> None:
    examples = [_example(f"Q{prompt}", f"A{answer}", i) for i, (prompt, answer) in enumerate(rows)]
    parts = split(examples, validation=validation, test=test)
    keys = [key for part in _parts(parts) for key in {prompt_key(e) for e in part}]
    assert len(keys) == len(set(keys))
    assert sum(_sizes(parts)) == len(rows)
    assert parts.train or not rows
    chance.shuffle(examples)
    again = split(examples, validation=validation, test=test)
    assert [set(part) for part in _parts(again)] == [set(part) for part in _parts(parts)]


def test_each_part_keeps_the_order_of_the_file() -> None:
    parts = split(_many(200), validation=0.2, test=0.2)
    for part in _parts(parts):
        lines = [e.origin.line for e in part]
        assert lines == sorted(lines)


def test_a_validation_share_does_not_move_the_test_part() -> None:
    assert split(_many(100), validation=0.3, test=0.1).test == split(_many(100), validation=0.0, test=0.1).test


def test_prompts_that_all_occur_often_still_give_a_validation_part() -> None:
    examples = [_example(f"Q{i % 5}", f"A{i}", i) for i in range(40)]
    assert _sizes(split(examples, validation=0.05, test=0.0)) == (32, 8, 0)


def test_one_prompt_alone_stays_in_training() -> None:
    assert _sizes(split([_example("Q", f"A{i}") for i in range(50)], validation=0.1, test=0.1)) == (50, 0, 0)


def test_branches_and_continuations_of_one_conversation_have_one_key() -> None:
    long = Example((*_example("Q", "A").messages, Message("user", "more"), Message("assistant", "B")), Origin("a", 1))
    assert prompt_key(_example("Q", "A")) == prompt_key(_example(" Q\n", "another")) == prompt_key(long)
    assert prompt_key(_example("Q", "A")) != prompt_key(_example("Q2", "A"))


def test_a_greeting_of_the_assistant_is_part_of_the_prompt() -> None:
    greeted = [
        Example((Message("assistant", "Hello!"), *_example(f"Q{i}", "A").messages), Origin("a", i)) for i in range(2)
    ]
    assert prompt_key(greeted[0]) != prompt_key(greeted[1])


def test_passages_are_split_by_their_text() -> None:
    passages = [Passage(f"text {i}", Origin("a.txt", i)) for i in range(40)]
    assert _sizes(split(passages, validation=0.1, test=0.1)) == (32, 4, 4)


@pytest.mark.parametrize(("validation", "test"), [(-0.1, 0.0), (0.5, 0.5), (1.0, 0.0)])
def test_shares_that_leave_no_training_are_refused(validation: float, test: float) -> None:
    with pytest.raises(RecipeError, match="together less than 1"):
        split(_many(10), validation=validation, test=test)
