"""Saving beside training: nothing changes under a save, and no failure of one is lost."""

from collections.abc import Mapping
from pathlib import Path
from threading import Event, Thread
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from tunesmith import disk
from tunesmith.errors import CheckpointError
from tunesmith.training import checkpoint, saving
from tunesmith.training.saving import SHARE, Saver


def tensors(value: float) -> Mapping[str, Mapping[str, torch.Tensor]]:
    return {"weights": {"a": torch.full((4,), value)}, "optimizer": {"a.step": torch.tensor(value)}}


@pytest.fixture
def held(monkeypatch: pytest.MonkeyPatch) -> tuple[Event, Event]:
    """The first says that a save has begun to write; it goes on when the second is set."""
    writing, gate, real = Event(), Event(), disk.write_all

    def slow(*given: Any) -> None:
        writing.set()
        assert gate.wait(30)
        real(*given)

    monkeypatch.setattr(disk, "write_all", slow)
    return writing, gate


def test_training_goes_on_while_a_save_writes_and_waits_before_it_changes_a_weight(
    tmp_path: Path, held: tuple[Event, Event]
) -> None:
    writing, gate = held
    with Saver(tmp_path, keep=1) as saver:
        saver.begin(1, tensors(1.0), {})
        assert writing.wait(30)
        assert checkpoint.newest(tmp_path) is None
        gate.set()
        saver.release()
        assert (tmp_path / "partial-1" / "optimizer.safetensors").exists() or checkpoint.newest(tmp_path) is not None
    found = checkpoint.newest(tmp_path)
    assert found is not None
    assert found.tensors("weights")["a"].tolist() == [1.0] * 4


def test_a_weight_that_changes_after_the_release_is_saved_as_it_was(tmp_path: Path) -> None:
    given = tensors(1.0)
    with Saver(tmp_path, keep=1) as saver:
        saver.begin(1, given, {})
        saver.release()
        given["weights"]["a"].fill_(2.0)
    found = checkpoint.newest(tmp_path)
    assert found is not None
    assert found.tensors("weights")["a"].tolist() == [1.0] * 4


@pytest.mark.parametrize("when", ["release", "finish"])
def test_a_save_that_fails_is_told_of_before_the_next_update_and_at_the_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, when: str
) -> None:
    def full(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(disk, "write_all", full)
    saver = Saver(tmp_path, keep=1)
    saver.begin(1, tensors(1.0), {})
    with pytest.raises(CheckpointError, match="the disk is full"):
        getattr(saver, when)()
    saver.finish()  # it is told once


def test_a_run_that_is_torn_down_stops_its_save_and_leaves_the_one_before(
    tmp_path: Path, held: tuple[Event, Event]
) -> None:
    writing, gate = held
    gate.set()
    checkpoint.save(tmp_path, 1, tensors(1.0), {}, keep=1)
    writing.clear()
    gate.clear()
    saver = Saver(tmp_path, keep=1)
    saver.begin(2, tensors(2.0), {})
    assert writing.wait(30)
    Thread(target=lambda: (saver._stopped.wait(30), gate.set())).start()
    saver.__exit__(KeyboardInterrupt, KeyboardInterrupt(), None)
    assert [folder.name for folder in tmp_path.iterdir()] == ["step-1"]


def test_where_nothing_says_how_often_a_save_costs_a_small_share_of_the_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [0.0]
    monkeypatch.setattr(saving, "time", SimpleNamespace(monotonic=lambda: now[0]))
    saver = Saver(tmp_path, keep=1)
    assert saver.affords
    monkeypatch.setattr(checkpoint, "save", lambda *_, **__: now.__setitem__(0, 2.0))
    saver.begin(1, tensors(1.0), {})
    saver.finish()
    now[0] = 2.0 * SHARE - 1
    assert not saver.affords
    now[0] = 2.0 * SHARE
    assert saver.affords
