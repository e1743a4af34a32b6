"""PrefixForest against the plain reading of its invariants."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tunesmith.batches.forest import MINIMUM_SHARED, PrefixForest
from tunesmith.batches.packing import micro_batches, plan
from tunesmith.data.example import Origin
from tunesmith.tokens.encoded import EncodedExample


def example(ids: list[int], weights: list[float] | None = None) -> EncodedExample:
    given_weights = weights if weights is not None else [0.0] + [1.0] * (len(ids) - 1)
    return EncodedExample(np.array(ids, np.int32), np.array(given_weights, np.float32), Origin("made", 1))


# Few distinct tokens and repeated trunks, so that beginnings are shared often and at every depth.
trunk = st.lists(st.integers(0, 2), min_size=0, max_size=30)
sequence = st.lists(st.integers(0, 2), min_size=2, max_size=40)


@st.composite
def families(draw: st.DrawFn) -> list[EncodedExample]:
    trunks = draw(st.lists(trunk, min_size=1, max_size=3))
    count = draw(st.integers(1, 9))
    made = []
    for _ in range(count):
        ids = draw(st.sampled_from(trunks)) + draw(sequence)
        weights = [0.0, *draw(st.lists(st.sampled_from([0.0, 0.5, 1.0]), min_size=len(ids) - 1, max_size=len(ids) - 1))]
        made.append(example(ids, weights))
    return made


def path_of(batch_ids: np.ndarray, ends: np.ndarray, row: int) -> list[int]:
    """The tokens that a row may see, by the one-line rule."""
    return [int(batch_ids[k]) for k in range(row + 1) if row < ends[k]]


@given(families(), st.booleans())
def test_every_target_sees_exactly_the_tokens_before_it_in_its_example(
    examples: list[EncodedExample], sharing: bool
) -> None:
    batch = PrefixForest(examples, sharing=sharing).batch()
    expected = [
        (i, float(e.weights[t]), int(e.ids[t]), e.ids[:t].tolist())
        for i, e in enumerate(examples)
        for t in range(1, len(e))
        if e.weights[t] > 0
    ]
    rows = batch.rows[batch.row_of]
    found = [
        (
            int(batch.example[r]),
            float(batch.weight[r]),
            int(batch.target[r]),
            path_of(batch.ids, batch.subtree_end, row),
        )
        for r, row in enumerate(rows)
    ]
    assert found == expected
    assert all(batch.position[row] == len(seen) - 1 for row, (*_, seen) in zip(rows, found, strict=True))


@given(families())
def test_segments_cover_the_batch_and_name_their_ancestors(examples: list[EncodedExample]) -> None:
    batch = PrefixForest(examples).batch()
    assert [s.start for s in batch.segments] == [0, *[s.end for s in batch.segments[:-1]]]
    assert batch.segments[-1].end == len(batch.ids)
    for segment in batch.segments:
        above = [k for a, b in segment.ancestors for k in range(a, b)]
        assert above == [k for k in range(segment.start) if batch.subtree_end[k] > segment.start]
        assert batch.position[segment.start] == len(above)


def test_a_shared_prompt_is_stored_once() -> None:
    prompt = list(range(100, 140))
    batch = PrefixForest([example([*prompt, 1, 2]), example([*prompt, 3]), example([*prompt, 4, 5, 6])]).batch()
    assert len(batch.ids) == 40 + 1 + 0 + 2  # the last token of each predicts nothing
    assert batch.data_tokens == 42 + 41 + 43


def test_without_sharing_the_examples_stand_one_after_the_other() -> None:
    examples = [example([5, 6, 7]), example([5, 6, 8, 9])]
    assert PrefixForest(examples, sharing=False).batch().ids.tolist() == [5, 6, 5, 6, 8]


def test_what_stands_behind_the_row_of_the_last_target_is_not_computed() -> None:
    prompt = [9] * MINIMUM_SHARED
    answered = example([*prompt, 1, 2, 3, 4], [0.0] * MINIMUM_SHARED + [1.0, 1.0, 0.0, 0.0])
    choices = [example([*prompt, label], [0.0] * MINIMUM_SHARED + [1.0]) for label in (5, 6, 7)]
    batch = PrefixForest([*choices, answered]).batch()
    assert batch.ids.tolist() == [*prompt, 1]
    assert batch.target[np.argsort(batch.row_of, kind="stable")].tolist() == [5, 6, 7, 1, 2]
    assert PrefixForest([example([1, 2, 3], [0.0] * 3)]).tokens == 3


def test_the_same_example_twice_counts_twice() -> None:
    twin = example([1] * (MINIMUM_SHARED + 4))
    batch = PrefixForest([twin, twin]).batch()
    assert len(batch.ids) == len(twin) - 1
    assert sorted(batch.example.tolist()) == [0] * (len(twin) - 1) + [1] * (len(twin) - 1)


def test_a_thousand_nested_beginnings_do_not_exhaust_the_stack() -> None:
    ids = np.random.default_rng(0).integers(0, 9, 1500 * MINIMUM_SHARED + 1).tolist()
    nested = [example(ids[: MINIMUM_SHARED * k + 1]) for k in range(1, 1500)]
    assert PrefixForest(nested).tokens == len(nested[-1]) - 1


def test_a_plan_counts_what_branches_that_part_soon_after_one_another_repeat() -> None:
    alike = [example([*ids, 2]) for ids in ([0] * 21, [0] * 21, [0] * 20 + [1])]
    assert PrefixForest(alike).tokens == 23
    assert plan(alike, budget=22) == [[0, 1], [2]]
    assert plan(alike, budget=23) == [[0, 1, 2]]


@given(families(), st.integers(8, 120), st.booleans())
def test_a_plan_holds_every_example_once_and_keeps_to_the_budget(
    examples: list[EncodedExample], budget: int, sharing: bool
) -> None:
    parts = plan(examples, budget=budget, sharing=sharing)
    assert sorted(i for part in parts for i in part) == list(range(len(examples)))
    for part in parts:
        computed = PrefixForest([examples[i] for i in part], sharing=sharing).tokens
        assert computed <= budget or len(part) == 1


@pytest.mark.parametrize("budget", [50, 100, 1000])
def test_micro_batches_have_the_tokens_of_the_step(budget: int) -> None:
    rng = np.random.default_rng(1)
    examples = [example(rng.integers(0, 50, n).tolist()) for n in (30, 20, 45, 10, 40)]
    batches = micro_batches(examples, budget=budget)
    assert sum(b.data_tokens for b in batches) == 145
    assert sum(len(b.target) for b in batches) == 140
