from collections.abc import Iterable

import numpy as np
import pytest
from scipy import stats

from tunesmith.evaluation import intervals
from tunesmith.evaluation.metrics import share


def column(values: Iterable[float]) -> intervals.Array:
    return np.array([(x, 1.0) for x in values])


def paired(left: Iterable[float], right: Iterable[float]) -> tuple[intervals.Array, intervals.Array]:
    return column(left), column(right)


@pytest.mark.parametrize(("successes", "n"), [(0, 10), (10, 10), (1, 29), (81, 263), (15, 148), (500, 1000)])
def test_wilson_equals_scipys(successes: int, n: int) -> None:
    expected = stats.binomtest(successes, n).proportion_ci(method="wilson")
    assert intervals.wilson(successes, n) == pytest.approx((expected.low, expected.high))


def test_wilson_gives_the_published_intervals_of_newcombe() -> None:
    # Newcombe (1998), "Two-sided confidence intervals for the single proportion", table I, method 3.
    published = {
        (81, 263): (0.2553, 0.3662),
        (15, 148): (0.0624, 0.1605),
        (0, 20): (0.0, 0.1611),
        (1, 29): (0.0061, 0.1718),
    }
    for (successes, n), expected in published.items():
        assert tuple(round(x, 4) for x in intervals.wilson(successes, n)) == expected


def test_paired_wilson_gives_the_published_intervals() -> None:
    # Newcombe (1998); Altman et al. (2000), "Statistics with confidence", table 6.2; Bentur et al. (2009) in
    # Fagerland, Lydersen & Laake (2017), "Statistical analysis of contingency tables", chapter 8.
    published = {(20, 2, 12, 16): (0.056, 0.329), (14, 0, 5, 22): (0.011, 0.226), (1, 7, 1, 12): (-0.507, -0.026)}
    for counts, expected in published.items():
        assert tuple(round(x, 3) for x in intervals.paired_wilson(*counts)) == expected


def test_paired_wilson_has_a_width_when_all_items_agree() -> None:
    low, high = intervals.paired_wilson(20, 0, 0, 0)
    assert low == -high
    assert high > 0.1


@pytest.mark.parametrize(("only_left", "only_right"), [(0, 0), (0, 5), (0, 6), (3, 9), (7, 7), (40, 61)])
def test_mcnemar_equals_the_binomial_test(only_left: int, only_right: int) -> None:
    n = only_left + only_right
    expected = stats.binomtest(only_left, n).pvalue if n else 1.0
    assert intervals.mcnemar(only_left, only_right) == pytest.approx(expected)


def test_holm_gives_its_textbook_example() -> None:
    assert intervals.holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])


def test_holm_of_nothing_is_nothing() -> None:
    assert intervals.holm([]) == []


def test_an_exact_sign_flip_equals_scipys_exact_permutation_test() -> None:
    random = np.random.default_rng(5)
    left, right = random.normal(size=9), random.normal(0.7, size=9)
    expected = stats.permutation_test(
        (left, right), lambda x, y: np.mean(x - y), permutation_type="samples", n_resamples=np.inf
    )
    assert intervals.sign_flip(*paired(left, right), share) == pytest.approx(expected.pvalue)


def test_a_drawn_sign_flip_is_near_the_normal_approximation() -> None:
    random = np.random.default_rng(6)
    left = random.normal(size=200)
    right = left + random.normal(0.12, size=200)
    assert intervals.sign_flip(*paired(left, right), share) == pytest.approx(
        stats.ttest_rel(left, right).pvalue, abs=0.02
    )


def test_equal_answers_have_p_one_and_a_difference_of_exactly_zero() -> None:
    left, right = paired([0, 1, 1, 0], [0, 1, 1, 0])
    assert intervals.sign_flip(left, right, share) == 1.0
    assert intervals.paired_bootstrap(left, right, share) == (0.0, 0.0)


def test_the_bootstrap_of_a_mean_is_near_its_normal_interval() -> None:
    values = np.random.default_rng(7).normal(3.0, 2.0, size=400)
    low, high = intervals.bootstrap(np.stack([values, np.ones(400)], axis=1), share)
    half = 1.96 * values.std(ddof=1) / 20
    assert (low, high) == pytest.approx((values.mean() - half, values.mean() + half), abs=0.03)


def test_pairing_narrows_the_interval_of_a_difference() -> None:
    hard = np.random.default_rng(8).normal(size=100)
    left, right = paired(hard, hard + 0.1)
    low, high = intervals.paired_bootstrap(left, right, share)
    assert (low, high) == pytest.approx((0.1, 0.1))


def test_the_same_items_give_the_same_interval() -> None:
    table = np.stack([np.arange(30.0), np.ones(30)], axis=1)
    assert intervals.bootstrap(table, share) == intervals.bootstrap(table, share)


def test_the_smallest_difference_is_the_one_a_z_test_finds_with_the_power_asked_for() -> None:
    difference = intervals.smallest_difference(0.5, 400)
    z = difference / (0.5 / 20)
    assert stats.norm.sf(stats.norm.ppf(0.975) - z) == pytest.approx(0.8, abs=1e-4)
