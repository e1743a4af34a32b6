from pathlib import Path

import pytest

from tunesmith.errors import DataError, UsageError
from tunesmith.run.retention import retention


def quiet(text: str) -> None:
    """Say nothing."""


def test_a_run_is_measured_on_what_its_base_writes_and_the_text_is_written_once(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TUNESMITH_HOME", str(tmp_path))
    said: list[str] = []
    first = retention(str(run), tokens=100, say=said.append)
    assert first.tokens >= 100
    assert first.kl.value > 0
    assert retention(str(run), tokens=100, say=said.append) == first
    assert sum("writes" in text for text in said) == 1


def test_a_file_of_general_text_is_read_as_far_as_asked(run: Path, tmp_path: Path) -> None:
    text = tmp_path / "general.txt"
    text.write_text("some words that are general " * 100)
    found = retention(str(run), text=str(text), tokens=600, say=quiet)
    assert 600 <= found.tokens < 600 + 256


def test_conversations_are_no_general_text(run: Path, chats: Path) -> None:
    with pytest.raises(DataError, match="not conversations"):
        retention(str(run), text=str(chats), say=quiet)


def test_a_model_has_no_base_to_compare_with(folder: Path) -> None:
    with pytest.raises(UsageError, match="no run folder"):
        retention(str(folder), say=quiet)
