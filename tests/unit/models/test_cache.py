"""A cached folder is whole or absent."""

from pathlib import Path
from threading import Thread

import pytest

from tunesmith.errors import ModelError
from tunesmith.models.cache import home, made_once


def test_a_failure_leaves_nothing(tmp_path: Path) -> None:
    def make(partial: Path) -> None:
        (partial / "half").write_text("…")
        raise ModelError("the download stopped")

    with pytest.raises(ModelError, match="stopped"):
        made_once(tmp_path / "x", make)
    assert [path.name for path in tmp_path.iterdir() if not path.name.endswith(".lock")] == []


def test_what_a_killed_process_left_is_not_used(tmp_path: Path) -> None:
    (tmp_path / ".x.partial").mkdir()
    (tmp_path / ".x.partial" / "half").write_text("…")
    made_once(tmp_path / "x", lambda partial: (partial / "whole").touch())
    assert [path.name for path in (tmp_path / "x").iterdir()] == ["whole"]


def test_two_at_once_make_it_once(tmp_path: Path) -> None:
    made = []

    def make(partial: Path) -> None:
        made.append(partial)
        (partial / "file").touch()

    threads = [Thread(target=made_once, args=(tmp_path / "x", make)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(made) == 1


def test_a_full_disk_is_an_error_that_helps(tmp_path: Path) -> None:
    def make(partial: Path) -> None:
        raise OSError(28, "No space left on device")

    with pytest.raises(ModelError, match=r"the disk is full. Free some space, or set TUNESMITH_HOME"):
        made_once(tmp_path / "x", make)


def test_the_place_can_be_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TUNESMITH_HOME", str(tmp_path))
    assert home() == tmp_path
