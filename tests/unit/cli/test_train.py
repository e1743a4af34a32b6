"""What `tunesmith train` makes of its arguments."""

import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tunesmith.cli.main import run

Calls = list[tuple[str, Any, Any]]


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> Calls:
    """The calls of the verbs, which do nothing."""
    made: Calls = []

    def train(loaded: Any, *, resume: str, accept: Any) -> Any:
        made.append(("train", loaded, resume, *accept))
        return SimpleNamespace(folder=Path("runs/new"))

    def resume(folder: Path, accept: Any, *, longer: Any) -> Any:
        made.append(("resume", folder, (*accept, *longer)))
        return SimpleNamespace(folder=folder)

    monkeypatch.setitem(sys.modules, "tunesmith.run.train", SimpleNamespace(train=train, resume=resume))
    return made


def test_the_run_folder_is_all_that_stdout_gets(calls: Calls, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["train", "a.jsonl", "training.epochs=3", "method.kind=full"]) == 0
    assert capsys.readouterr().out == "runs/new\n"
    [(verb, loaded, resume)] = calls
    assert (verb, resume) == ("train", "never")
    assert loaded.recipe.training.epochs == 3
    assert loaded.recipe.method.kind == "full"


def test_settings_alone_are_enough(calls: Calls) -> None:
    assert run(["train", "data.train=a.jsonl", "seed=3"]) == 0
    assert calls[0][1].recipe.data.train == "a.jsonl"
    assert calls[0][1].recipe.seed == 3


def test_a_file_with_an_equals_sign_in_its_name_is_a_file(calls: Calls, tmp_path: Path) -> None:
    file = tmp_path / "a=b.jsonl"
    file.touch()
    assert run(["train", str(file)]) == 0
    assert calls[0][1].recipe.data.train == str(file)


def test_resume_with_a_folder_goes_on_with_it(calls: Calls) -> None:
    assert run(["train", "--resume", "runs/old", "--accept", "torch"]) == 0
    assert calls == [("resume", Path("runs/old"), ("torch",))]


def test_what_may_differ_is_named_to_a_resume_that_finds_its_folder_itself(calls: Calls) -> None:
    assert run(["train", "a.jsonl", "--resume", "auto", "--accept", "torch"]) == 0
    assert (calls[0][0], calls[0][2:]) == ("train", ("auto", "torch"))


def test_a_resumed_run_may_be_told_to_grow(calls: Calls) -> None:
    assert run(["train", "--resume", "runs/old", "training.epochs=5"]) == 0
    assert calls == [("resume", Path("runs/old"), ("training.epochs=5",))]


def test_resume_auto_keeps_the_recipe(calls: Calls) -> None:
    assert run(["train", "a.jsonl", "run=runs/x", "--resume", "auto"]) == 0
    assert calls[0][0] == "train"
    assert calls[0][2] == "auto"


@pytest.mark.parametrize("arguments", [[], ["a.jsonl", "--resume", "runs/old"]])
def test_what_contradicts_itself_is_a_wrong_usage(calls: Calls, arguments: list[str]) -> None:
    assert run(["train", *arguments]) == 2
    assert calls == []


def test_an_unknown_setting_is_answered_before_anything_runs(calls: Calls, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["train", "a.jsonl", "training.lerning_rate=1e-4"]) == 2
    assert "Did you mean training.learning_rate?" in capsys.readouterr().err
    assert calls == []
