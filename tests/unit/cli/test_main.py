"""How the command line ends: exit codes, and one sentence where something went wrong."""

import sys
from types import SimpleNamespace

import pytest

from tunesmith.cli.main import run
from tunesmith.errors import CheckpointError, DataError, Interrupted, RecipeError, TunesmithError


def _train_that_raises(monkeypatch: pytest.MonkeyPatch, error: BaseException) -> None:
    def train(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setitem(sys.modules, "tunesmith.run.train", SimpleNamespace(train=train, resume=train))


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (TunesmithError("it went wrong"), 1),
        (CheckpointError("it went wrong"), 1),
        (RecipeError("it went wrong"), 2),
        (DataError("it went wrong"), 3),
        (Interrupted("it went wrong"), 130),
    ],
)
def test_a_mistake_is_one_sentence_on_stderr_and_its_exit_code(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], error: TunesmithError, code: int
) -> None:
    _train_that_raises(monkeypatch, error)
    assert run(["train", "a.jsonl"]) == code
    told = capsys.readouterr()
    assert told.out == ""
    assert told.err == "Error: it went wrong\n"


def test_a_keyboard_interrupt_exits_with_130(monkeypatch: pytest.MonkeyPatch) -> None:
    _train_that_raises(monkeypatch, KeyboardInterrupt())
    assert run(["train", "a.jsonl"]) == 130


def test_a_bug_says_so_without_a_traceback(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.delenv("TUNESMITH_DEBUG", raising=False)
    _train_that_raises(monkeypatch, ZeroDivisionError("by zero"))
    assert run(["train", "a.jsonl"]) == 1
    told = capsys.readouterr().err
    assert "this is a bug in Tunesmith (ZeroDivisionError: by zero)" in told
    assert "Traceback" not in told


def test_debug_shows_the_traceback(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("TUNESMITH_DEBUG", "1")
    _train_that_raises(monkeypatch, ZeroDivisionError("by zero"))
    assert run(["train", "a.jsonl"]) == 1
    assert "Traceback" in capsys.readouterr().err


def test_a_full_disk_is_not_called_a_bug(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    _train_that_raises(monkeypatch, OSError(28, "No space left on device", "runs/x"))
    assert run(["train", "a.jsonl"]) == 1
    assert capsys.readouterr().err == "Error: runs/x: No space left on device.\n"


@pytest.mark.parametrize("arguments", [["nonsense"], ["train", "--nonsense"], ["evaluate"], ["export", "run"]])
def test_a_wrong_usage_exits_with_2(arguments: list[str]) -> None:
    assert run(arguments) == 2


@pytest.mark.parametrize("arguments", [["--help"], ["train", "--help"], ["recipe", "--help"], ["--version"]])
def test_help_and_version_are_data(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert run(arguments) == 0
    told = capsys.readouterr()
    assert told.out
    assert told.err == ""
