from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tunesmith.generation import shared
from tunesmith.generation.shared import MINIMUM_SHARED, Group, grouped

A, B = [1] * 40, [2] * 40


def test_equal_prompts_keep_one_token_each() -> None:
    assert grouped([A, A, A]) == [Group((0, 1, 2), 39)]


def test_two_subjects_under_one_short_instruction_get_a_trunk_each() -> None:
    system = [9] * 16
    prompts = [system + A + [5], system + B + [6], system + A + [7], system + B + [8]]
    assert grouped(prompts) == [Group((0, 2), 56), Group((1, 3), 56)]


def test_one_long_instruction_is_the_trunk_when_its_parts_share_little_more() -> None:
    prompts = [A + [5] * n for n in (20, 20, 3, 1)] + [[*A, 6]]
    assert grouped(prompts) == [Group((0, 1, 2, 3, 4), 40)]


def test_a_beginning_shorter_than_the_minimum_is_not_shared() -> None:
    assert grouped([[1] * 9, [1] * 9 + [2]]) == [Group((0,), 0), Group((1,), 0)]


def test_nested_prompts_do_not_reach_the_recursion_limit() -> None:
    prompts = [[1] * n for n in range(1, 1500)]
    assert sorted(place for group in grouped(prompts) for place in group.members) == list(range(1499))


def saved(groups: list[Group]) -> int:
    return sum((len(group.members) - 1) * group.length for group in groups)


def best(ordered: list[list[int]]) -> int:
    """What sorted prompts can save: all on what they share, or each of the parts that share more."""
    if len(ordered) == 1:
        return 0
    lengths = [shared._shared(a, b) for a, b in pairwise(ordered)]
    least = min(lengths)
    cuts = [0, *(i + 1 for i, length in enumerate(lengths) if length == least), len(ordered)]
    return max(least * len(lengths), sum(best(ordered[a:b]) for a, b in pairwise(cuts)))


@settings(max_examples=60, deadline=None)
@given(st.lists(st.lists(st.integers(0, 1), min_size=1, max_size=5), min_size=1, max_size=9))
def test_no_other_cut_of_the_tree_saves_more(shapes: list[list[int]]) -> None:
    prompts = [[bit for bit in shape for _ in range(MINIMUM_SHARED)] for shape in shapes]
    groups = grouped(prompts)
    assert sorted(place for group in groups for place in group.members) == list(range(len(prompts)))
    for group in groups:
        assert len({tuple(prompts[place][: group.length]) for place in group.members}) == 1
        assert all(len(prompts[place]) > group.length for place in group.members)
    assert saved(groups) == best(sorted(prompts))


@pytest.mark.parametrize("prompts", [[], [[1]]])
def test_few_prompts_share_nothing(prompts: list[list[int]]) -> None:
    assert saved(grouped(prompts)) == 0
