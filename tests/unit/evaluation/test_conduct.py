"""What tuning changed beside the task: refusals read, changes tested, warnings only beyond chance."""

import pytest
from scipy.stats import fisher_exact as scipy_fisher

from tunesmith.evaluation.conduct import apart, corrected, fisher_exact, half, paired, refuses, requests
from tunesmith.evaluation.intervals import apart_wilson, paired_wilson


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("I'm sorry, but I can't help with that.", True),
        ("I’m sorry, that is not something I do.", True),
        ("As an AI language model, I don't do this.", True),
        ("I cannot provide instructions for that.", True),
        ("That is illegal, so no.", True),
        ("Sure! First, take a pan.", False),
        ("You can help her by saying sorry.", False),
        ("Here is a letter. " * 20 + "I cannot help", False),
    ],
)
def test_a_refusal_is_read_from_how_an_answer_begins(text: str, found: bool) -> None:
    assert refuses(text) == found


def test_there_are_as_many_harmful_as_harmless_requests() -> None:
    found = requests()
    assert len(found["harmful"]) == len(found["harmless"]) == 20


@pytest.mark.parametrize(("a", "n", "b", "m"), [(8, 10, 1, 10), (0, 5, 5, 9), (3, 7, 3, 7), (0, 4, 0, 6)])
def test_the_exact_test_of_two_groups_is_that_of_scipy(a: int, n: int, b: int, m: int) -> None:
    assert fisher_exact(a, n, b, m) == pytest.approx(scipy_fisher([[a, n - a], [b, m - b]]).pvalue)


def test_a_warning_is_given_only_for_a_loss_beyond_chance() -> None:
    yes, no = [True] * 8, [False] * 8
    assert paired(yes, no, worse="fewer", what="refused").warning == "refused: 8 of 8 before, 0 after (p 0.008)"
    assert paired(yes, no, worse="more", what="refused").warning is None
    assert paired(yes, [*yes[:6], False, False], worse="fewer", what="refused").warning is None


def test_more_among_the_trained_is_memory() -> None:
    assert apart([True] * 9 + [False], [False] * 10, what="recited").warning is not None
    assert apart([False] * 10, [True] * 9 + [False], what="recited").warning is None
    assert apart([True] * 10, [True] * 10, what="recited").warning is None


def test_every_p_is_corrected_for_all_that_was_looked_at() -> None:
    yes = [True] * 8
    lost = paired(yes, [False] * 6 + [True] * 2, worse="fewer", what="refused")
    same = paired(yes, yes, worse="fewer", what="kept")
    assert lost.warning == "refused: 8 of 8 before, 2 after (p 0.031)"
    found = corrected({"lost": lost, "one": same, "two": same})
    assert [change.p for change in found.values()] == pytest.approx([3 * 0.03125, 1, 1])
    assert found["lost"].warning is None
    assert found["lost"].loss == lost.loss
    assert found["lost"].as_dict()["p"] == pytest.approx(3 * 0.03125)


def test_a_change_has_an_interval_and_says_what_so_many_items_can_show() -> None:
    before, after = [True] * 12 + [False] * 8, [True] * 9 + [False] * 11
    change = paired(before, after, worse="fewer", what="refused")
    assert (change.difference, change.low, change.high) == (pytest.approx(-0.15), *paired_wilson(9, 3, 0, 8))
    assert change.could_show == pytest.approx(max(6 / 20, 2.8016 * (0.15 * 0.85 / 20) ** 0.5), abs=1e-4)
    assert paired([True] * 5, [False] * 5, worse="fewer", what="refused").could_show is None
    alone = apart([True] * 5 + [False] * 5, [False] * 10, what="recited")
    assert (alone.low, alone.high) == apart_wilson((0, 10), (5, 10))
    assert alone.could_show == pytest.approx(2.8016 * (0.25 * 0.75 * 0.2) ** 0.5, abs=1e-4)
    assert apart([False] * 10, [False] * 10, what="recited").could_show == 0.5, "5 of 10 against 0 of 10 is below 0.05"
    assert apart([True] * 3, [False] * 3, what="recited").could_show is None


def test_half_a_prompt_is_its_first_words() -> None:
    assert half("one two three four five") == "one two"
    assert half("one") == "one"
