import errno
import os
import random
import shutil
import subprocess
import sys
from pathlib import Path
from typing import get_args

import pytest
import torch

from tunesmith import disk
from tunesmith.errors import CheckpointError, TrainingError
from tunesmith.training import checkpoint

Whole = checkpoint.Checkpoint


def save(root: Path, step: int, *, keep: int = 2, protect: tuple[int, ...] = (), value: float | None = None) -> Path:
    filled = float(step) if value is None else value
    tensors = {"model": {"weight": torch.full((3, 2), filled)}, "optimizer": {"weight.step": torch.tensor(filled)}}
    return checkpoint.save(root, step, tensors, {"best": None, "journal": step * 10}, keep=keep, protect=protect)


def found(root: Path, warnings: list[str] | None = None) -> Whole:
    newest = checkpoint.newest(root, (warnings if warnings is not None else []).append)
    assert newest is not None
    return newest


def names(root: Path) -> list[str]:
    return sorted(folder.name for folder in root.iterdir())


def test_what_was_saved_is_found_again_bit_for_bit(tmp_path: Path) -> None:
    save(tmp_path, 7)
    newest = found(tmp_path)
    assert (newest.step, newest.state, newest.folder.name) == (7, {"best": None, "journal": 70}, "step-7")
    assert torch.equal(newest.tensors("model")["weight"], torch.full((3, 2), 7.0))
    assert newest.tensors("optimizer")["weight.step"].item() == 7.0


def test_a_run_that_never_saved_has_no_checkpoint(tmp_path: Path) -> None:
    assert checkpoint.newest(tmp_path / "absent") is None
    (tmp_path / "partial-1").mkdir()
    assert checkpoint.newest(tmp_path) is None


def test_the_newest_is_chosen_by_number_and_not_by_name(tmp_path: Path) -> None:
    for step in (9, 10):
        save(tmp_path, step)
    assert found(tmp_path).step == 10


def test_the_last_ones_and_the_protected_ones_stay(tmp_path: Path) -> None:
    for step in range(1, 7):
        save(tmp_path, step, protect=(2,))
    assert names(tmp_path) == ["step-2", "step-5", "step-6"]


def test_a_run_that_went_back_forgets_the_checkpoints_it_did_not_use(tmp_path: Path) -> None:
    save(tmp_path, 4)
    save(tmp_path, 8)
    (tmp_path / "step-8" / "state.json").write_text("{}")
    save(tmp_path, 6, keep=1)
    assert names(tmp_path) == ["step-6"]


def test_a_step_saved_again_replaces_its_folder(tmp_path: Path) -> None:
    save(tmp_path, 3)
    save(tmp_path, 3, value=5.0)
    assert names(tmp_path) == ["step-3"]
    assert found(tmp_path).tensors("optimizer")["weight.step"].item() == 5.0


@pytest.mark.whole
@pytest.mark.parametrize("again", [False, True], ids=["a later step", "the same step again"])
def test_a_kill_at_any_point_of_a_save_leaves_the_old_or_the_new_one_whole(tmp_path: Path, again: bool) -> None:
    script = Path(__file__).with_name("kill_at_every_point.py")
    subprocess.run([sys.executable, "-W", "ignore", script, tmp_path, *(["--again"] if again else [])], check=True)
    points, values = get_args(checkpoint.Point), []
    for place in range(len(points)):
        root = tmp_path / str(place)
        newest = found(root)
        values.append(newest.state["value"])
        assert newest.tensors("model")["weight"].tolist() == [newest.state["value"]] * 8
        save(root, 3, keep=1)
        assert names(root) == ["step-3"]
    renamed = points.index("renamed")
    assert values == [1.0] * renamed + [2.0] * (len(points) - renamed)


def test_a_checkpoint_moved_aside_by_a_killed_save_stays_protected(tmp_path: Path) -> None:
    save(tmp_path, 3)
    (tmp_path / "step-3").rename(tmp_path / "step-3.before")
    assert found(tmp_path).step == 3
    save(tmp_path, 5, keep=1, protect=(3,))
    assert names(tmp_path) == ["step-3", "step-5"]


@pytest.mark.parametrize("name", ["model.safetensors", "optimizer.safetensors", "state.json", "manifest.json"])
def test_a_bit_turned_or_a_file_cut_is_noticed_wherever_it_is(tmp_path: Path, name: str) -> None:
    save(tmp_path, 1)
    file = save(tmp_path, 2) / name
    whole, chance = file.read_bytes(), random.Random(0)
    for _ in range(20):
        place, bit = chance.randrange(len(whole)), 1 << chance.randrange(8)
        for damaged in (whole[:place] + bytes([whole[place] ^ bit]) + whole[place + 1 :], whole[:place]):
            file.write_bytes(damaged)
            warnings: list[str] = []
            assert found(tmp_path, warnings).step == 1
            assert len(warnings) == 1
            assert "step-2" in warnings[0]
    file.write_bytes(whole)
    assert found(tmp_path).step == 2


def test_a_file_missing_or_added_is_noticed(tmp_path: Path) -> None:
    save(tmp_path, 1)
    folder = save(tmp_path, 2)
    (folder / "extra").write_text("")
    assert found(tmp_path).step == 1
    (folder / "extra").unlink()
    (folder / "model.safetensors").unlink()
    assert found(tmp_path).step == 1


def test_a_checkpoint_renamed_to_another_step_is_noticed(tmp_path: Path) -> None:
    save(tmp_path, 1).rename(tmp_path / "step-9")
    with pytest.raises(CheckpointError, match="no checkpoint is whole"):
        checkpoint.newest(tmp_path)


def test_none_whole_is_an_error_and_never_a_start_from_zero(tmp_path: Path) -> None:
    for step in (1, 2):
        (save(tmp_path, step) / "model.safetensors").write_bytes(b"")
    with pytest.raises(CheckpointError, match=r"(?s)no checkpoint is whole.*step-2.*step-1"):
        checkpoint.newest(tmp_path)


def test_a_damaged_checkpoint_is_never_passed_over_in_silence(tmp_path: Path) -> None:
    save(tmp_path, 1)
    (save(tmp_path, 2) / "model.safetensors").write_bytes(b"")
    with pytest.warns(UserWarning, match=r"model\.safetensors missing or altered\. It is passed over; step-1 is used"):
        checkpoint.newest(tmp_path)


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO, errno.EMFILE])
def test_a_disk_that_refuses_gives_a_sentence_and_leaves_the_last_good_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    save(tmp_path, 1)

    def refuse(*_: object) -> None:
        raise OSError(code, os.strerror(code))

    with monkeypatch.context() as patch:
        patch.setattr(disk, "write_all", refuse)
        with pytest.raises(CheckpointError, match=r"step 2 could not be saved: .* is untouched\."):
            save(tmp_path, 2)
    assert names(tmp_path) == ["step-1"]
    assert found(tmp_path).step == 1


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_that_may_not_be_written_to_gives_a_sentence(tmp_path: Path) -> None:
    save(tmp_path, 1)
    tmp_path.chmod(0o555)
    with pytest.raises(CheckpointError, match="Change its permissions"):
        save(tmp_path, 2)
    tmp_path.chmod(0o755)
    assert found(tmp_path).step == 1


def test_a_run_folder_belongs_to_one_process_until_it_ends(tmp_path: Path) -> None:
    run = tmp_path / "run"
    with (
        checkpoint.lock(run),
        pytest.raises(TrainingError, match=f"process {os.getpid()} is training in this folder"),
        checkpoint.lock(run),
    ):
        pass
    with checkpoint.lock(run):
        shutil.rmtree(run)


def test_a_run_folder_that_cannot_be_made_gives_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(TrainingError, match="cannot be used as a run folder"), checkpoint.lock(tmp_path / "file"):
        pass
