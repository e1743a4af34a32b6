"""The losses of examples are kept by their number, through interruptions too."""

from pathlib import Path

import numpy as np
import pytest

from tunesmith.batches.order import examples_of_step
from tunesmith.training.losses import ExampleLosses, read_losses

COUNT, BATCH, SEED = 5, 2, 3


def keep(path: Path, steps: range) -> None:
    """Go on from the first step; the loss of example i in step s is 10 s + i."""
    with ExampleLosses(path, count=COUNT, batch_size=BATCH) as losses:
        losses.cut(steps.start, None, pytest.fail)
        for step in steps:
            losses.append([10 * step + i for i in members(step)])


def members(step: int) -> list[int]:
    return [int(i) for i in examples_of_step(step, count=COUNT, batch_size=BATCH, seed=SEED)]


def test_each_loss_stands_under_its_example_and_epoch(tmp_path: Path) -> None:
    keep(tmp_path / "losses", range(5))
    found = read_losses(tmp_path / "losses", count=COUNT, seed=SEED)
    assert found.shape == (2, COUNT)
    for step in range(5):
        for i in members(step):
            assert found[step // 3, i] == 10 * step + i
    assert np.isnan(found).sum() == 1


def test_a_resumed_run_has_the_bytes_of_one_never_interrupted(tmp_path: Path) -> None:
    keep(tmp_path / "whole", range(6))
    keep(tmp_path / "broken", range(5))
    with (tmp_path / "broken").open("ab") as file:
        file.write(b"\x00\x01")
    keep(tmp_path / "broken", range(3, 6))
    assert (tmp_path / "broken").read_bytes() == (tmp_path / "whole").read_bytes()


def test_losses_that_the_disk_never_got_are_not_known(tmp_path: Path) -> None:
    keep(tmp_path / "losses", range(1))
    keep(tmp_path / "losses", range(2, 3))
    found = read_losses(tmp_path / "losses", count=COUNT, seed=SEED)
    assert {int(i) for i in np.flatnonzero(np.isnan(found[0]))} == set(members(1))


def test_losses_whose_bits_turned_since_the_checkpoint_are_said_to_be_unknown(tmp_path: Path) -> None:
    path, said = tmp_path / "losses", []
    with ExampleLosses(path, count=COUNT, batch_size=BATCH) as losses:
        losses.append([1.0, 2.0])
        found = losses.sync()
        losses.append([3.0, 4.0])
    with ExampleLosses(path, count=COUNT, batch_size=BATCH) as losses:
        losses.cut(1, found, pytest.fail)
    path.write_bytes(b"\x01" + path.read_bytes()[1:])
    with ExampleLosses(path, count=COUNT, batch_size=BATCH) as losses:
        losses.cut(1, found, said.append)
        losses.append([5.0])
    assert "losses: it was altered" in said[0]
    assert np.array_equal(np.fromfile(path, "<f4"), [np.nan, np.nan, 5], equal_nan=True)
