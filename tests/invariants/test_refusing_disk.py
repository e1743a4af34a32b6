"""A disk that refuses stops a run with a sentence; once it takes again, the resumed run is the one never stopped."""

import errno
import os
import resource
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from tiny_model import chat_file, tiny_model

from tunesmith.errors import CheckpointError, TunesmithError, UsageError
from tunesmith.models.fingerprint import weights_sha256
from tunesmith.recipe import load_recipe
from tunesmith.run import folder as places
from tunesmith.run.train import resume, train
from tunesmith.training import checkpoint
from tunesmith.training.progress import Progress

pytestmark = pytest.mark.whole


def quiet(text: str) -> None:
    """Say nothing."""


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    place = tmp_path_factory.mktemp("given")
    data, held_out = chat_file(place / "train.jsonl"), chat_file(place / "validation.jsonl", count=6, start=100)
    return [
        f"model={tiny_model(place / 'model')}", f"data.train={data}", f"data.validation={held_out}", "data.test=0",
        "method.kind=full", "training.batch_size=5", "training.steps=6", "training.validation.every=2",
        "checkpoints.every=2",
    ]  # fmt: skip


def start(settings: list[str], run: Path) -> None:
    train(load_recipe(None, [*settings, f"run={run}"]), resume="auto", say=quiet)


@pytest.fixture(scope="module")
def expected(settings: list[str], tmp_path_factory: pytest.TempPathFactory) -> tuple[str, str]:
    run = tmp_path_factory.mktemp("whole") / "run"
    start(settings, run)
    return sums(run)


def sums(run: Path) -> tuple[str, str]:
    return weights_sha256(run / "final"), weights_sha256(run / "best")


@contextmanager
def largest_file(size: int) -> Iterator[None]:
    """The system refuses to let any file grow beyond `size` bytes."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.mark.parametrize("size", [400, 20_000])
def test_files_that_may_not_grow_stop_a_run_that_can_be_resumed(
    size: int, settings: list[str], expected: tuple[str, str], tmp_path: Path
) -> None:
    run = tmp_path / "run"
    with largest_file(size), pytest.raises(TunesmithError, match="larger than files may be"):
        start(settings, run)
    start(settings, run)
    assert sums(run) == expected


@pytest.mark.parametrize("place", [1, 4, 11, 22])
def test_a_device_that_fails_at_any_flush_stops_a_run_that_can_be_resumed(
    place: int, settings: list[str], expected: tuple[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, real, calls = tmp_path / "run", os.fsync, iter(range(1, 10_000))

    def failing(descriptor: Any) -> None:
        if next(calls) == place:
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        real(descriptor)

    with monkeypatch.context() as patch:
        patch.setattr("os.fsync", failing)
        with pytest.raises(TunesmithError, match="reports an error of the device"):
            start(settings, run)
    if list((run / "checkpoints").glob("step-*")):
        assert checkpoint.newest(run / "checkpoints", pytest.fail) is not None
    start(settings, run)
    assert sums(run) == expected


def test_a_full_disk_at_a_checkpoint_leaves_the_one_before(
    settings: list[str], expected: tuple[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, real = tmp_path / "run", Progress.step
    before = resource.getrlimit(resource.RLIMIT_FSIZE)

    def filling(self: Progress, entry: Any) -> None:
        real(self, entry)
        if entry["step"] == 4:
            resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, before[1]))

    with monkeypatch.context() as patch:
        patch.setattr(Progress, "step", filling)
        try:
            with pytest.raises(CheckpointError, match=r"step 4 could not be saved.*last good checkpoint is untouched"):
                start(settings, run)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, before)
    found = checkpoint.newest(run / "checkpoints", pytest.fail)
    assert found is not None
    assert found.step == 2
    resume(run, say=quiet)
    assert sums(run) == expected


def test_a_log_that_cannot_be_written_is_told_and_not_a_bug(settings: list[str], tmp_path: Path) -> None:
    run = tmp_path / "run"
    run.mkdir()
    (run / ".lock").touch()
    full = Path("/dev/full")
    if not full.exists():
        pytest.skip("no device that is always full")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(places, "LOG", str(full))
        with pytest.raises(TunesmithError, match="the disk is full"):
            start(settings, run)


def test_a_run_killed_before_its_recipe_stood_is_begun_again(settings: list[str], tmp_path: Path) -> None:
    run = tmp_path / "run"
    run.mkdir()
    for name in (".lock", "identity.json", ".recipe.yaml.partial"):
        (run / name).write_text("{}")
    start(settings, run)
    assert (run / "final").is_dir()


def test_a_folder_taken_while_a_run_was_prepared_is_not_overwritten(
    settings: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = tmp_path / "run"

    def other(folder: Path) -> Any:
        (folder / "recipe.yaml").parent.mkdir()
        (folder / "recipe.yaml").write_text("of another run")
        return checkpoint.lock(folder)

    monkeypatch.setattr("tunesmith.run.train.lock", other)
    with pytest.raises(UsageError, match="never overwritten"):
        train(load_recipe(None, [*settings, f"run={run}"]), say=quiet)
    assert (run / "recipe.yaml").read_text() == "of another run"
