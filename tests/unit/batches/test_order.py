"""The order of examples as a pure function."""

import numpy as np

from tunesmith.batches.order import examples_of_step, permutation, steps_per_epoch


def test_an_epoch_sees_every_example_once() -> None:
    seen = np.concatenate([examples_of_step(s, count=53, batch_size=8, seed=3) for s in range(7)])
    assert steps_per_epoch(53, 8) == 7
    assert sorted(seen.tolist()) == list(range(53))


def test_another_epoch_and_another_seed_give_another_order() -> None:
    orders = [permutation(seed, epoch, 100).tolist() for seed in (0, 1) for epoch in (0, 1)]
    assert len({tuple(order) for order in orders}) == 4


def test_the_order_is_the_one_that_old_checkpoints_counted_on() -> None:
    assert permutation(0, 0, 8).tolist() == [4, 0, 3, 7, 1, 2, 6, 5]


def test_neighbours_in_the_file_are_not_neighbours_in_the_epoch() -> None:
    order = permutation(7, 0, 10_000)
    assert np.mean(np.abs(np.diff(order)) == 1) < 0.001
