import numpy as np
import pytest

from tunesmith.errors import UsageError
from tunesmith.evaluation.compare import compare, compare_tasks, table
from tunesmith.evaluation.item import Item


def answered(right: list[bool], nats: float = 1.0) -> list[Item]:
    return [Item("x" if ok else "y", "x", nats=nats, targets=2, prompt=str(i)) for i, ok in enumerate(right)]


def test_six_items_all_won_are_enough_and_five_are_not() -> None:
    for n, better in ((5, None), (6, "right")):
        (found,) = compare(answered([False] * n), answered([True] * n), ["exact_match"])
        assert (found.wins, found.losses) == (n, 0)
        assert found.better == better
        assert found.p == pytest.approx(2 / 2**n)


def test_the_two_sides_mirror_each_other() -> None:
    random = np.random.default_rng(1)
    left, right = answered(list(random.random(80) < 0.4)), answered(list(random.random(80) < 0.7))
    (there,), (back,) = compare(left, right, ["exact_match"]), compare(right, left, ["exact_match"])
    assert there.difference == -back.difference
    assert (there.low, there.high) == pytest.approx((-back.high, -back.low))
    assert (there.p, there.better, back.better) == (back.p, "right", "left")


def test_a_lower_loss_is_better() -> None:
    random = np.random.default_rng(2)
    noise = random.normal(0, 0.05, 50)
    left = [Item("x", "x", nats=2 + e, targets=2) for e in noise]
    right = [Item("x", "x", nats=1 + e, targets=2) for e in noise[::-1]]
    (found,) = compare(left, right, ["loss"])
    assert found.difference == pytest.approx(-0.5)
    assert found.high < 0
    assert (found.better, found.wins, found.losses) == ("right", 50, 0)


def test_more_metrics_make_the_same_p_less_certain() -> None:
    left, right = answered([False] * 6 + [True] * 10), answered([True] * 16)
    (alone,) = compare(left, right, ["exact_match"])
    together = compare(left, right, ["exact_match", "token_f1", "ends_properly"])
    assert alone.p < 0.05
    assert together[0].p == pytest.approx(3 * alone.p)


def test_metrics_without_item_scores_are_compared_by_permutation() -> None:
    left, right = answered([False, True] * 20), answered([True, True] * 20)
    for a, b in zip(left[:4], right[:4], strict=True):
        assert a.reference == b.reference
    (found,) = compare(left, right, ["f1_macro"])
    assert (found.wins, found.losses) == (None, None)
    assert found.could_show == pytest.approx(0.21, abs=0.05)
    assert found.test == "sign flip"
    assert found.better == "right"


def test_what_could_be_shown_is_said_when_nothing_was_found() -> None:
    random = np.random.default_rng(3)
    found = compare(answered(list(random.random(50) < 0.5)), answered(list(random.random(50) < 0.5)), ["exact_match"])
    assert found[0].better is None
    assert found[0].could_show == pytest.approx(0.27, abs=0.05)
    assert "no difference beyond chance; 50 items can show 0.2" in table(found, ("base", "tuned"))


def test_no_proportion_can_show_less_than_six_items_that_differ() -> None:
    same = answered([True] * 12)
    (found,) = compare(same, same, ["exact_match"])
    assert found.could_show == 0.5
    assert "12 items can show 0.500" in table([found])
    (few,) = compare(same[:5], same[:5], ["exact_match"])
    assert few.could_show is None
    assert "5 items are too few to show any" in table([few])


def test_a_mean_that_every_item_changed_alike_is_not_said_to_have_too_few() -> None:
    left, right = ([Item(said, "red", prompt=str(i)) for i in range(9)] for said in ("blue", "red"))
    assert "right is better; 9 items\n" in table(compare(left, right, ["token_f1"])) + "\n"


def test_more_tasks_make_the_same_p_less_certain() -> None:
    worse, better = answered([False] * 7 + [True] * 10), answered([True] * 17)
    names = {"first": ["exact_match"], "second": ["exact_match"], "third": ["exact_match"]}
    alone = compare_tasks({"first": (worse, better)}, names)["first"][0][0]
    tasks = compare_tasks({"first": (worse, better), "second": (better, better), "third": (better, better)}, names)
    assert alone.p < 0.05
    assert tasks["first"][0][0].p == pytest.approx(3 * alone.p)
    assert list(tasks) == ["first", "second", "third"]


def test_a_false_alarm_is_as_rare_as_promised() -> None:
    random = np.random.default_rng(4)
    alarms = sum(
        compare(answered(list(random.random(60) < 0.5)), answered(list(random.random(60) < 0.5)), ["exact_match"])[0].p
        < 0.05
        for _ in range(400)
    )
    assert alarms / 400 <= 0.05 + 0.022  # two standard errors


def test_the_guessed_metrics_leave_out_what_was_not_measured() -> None:
    items = [Item("a b", "a long answer of words") for _ in range(4)]
    names = [found.metric for found in compare(items, items)]
    assert names == ["exact_match", "token_f1", "ends_properly"]


def test_other_items_are_refused() -> None:
    with pytest.raises(UsageError, match="cannot be compared in pairs"):
        compare(answered([True]), answered([True, False]))
    with pytest.raises(UsageError, match="Item 0 is not the same"):
        compare([Item("a", "b")], [Item("a", "c")])
