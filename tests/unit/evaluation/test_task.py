from pathlib import Path

import pytest

from tunesmith.errors import DataError, UsageError
from tunesmith.evaluation.task import Task, files_of, known, load_task, options_of, render

FIELDS = {"name": "colours", "version": 1, "says": "s", "data": "c.jsonl", "prompt": "{{ q }}", "answer": "{{ a }}"}


@pytest.mark.parametrize("name", list(known()))
def test_every_task_that_comes_along_can_be_read(name: str) -> None:
    task, place, subset = load_task(name)
    assert task.name == name == place.stem
    assert subset is None


def test_a_subset_stands_behind_the_name() -> None:
    assert load_task("mmlu:anatomy")[2] == "anatomy"


def test_an_unknown_task_is_told_which_there_are() -> None:
    with pytest.raises(UsageError, match=r"no task 'mmul'.*mmlu"):
        load_task("mmul")


def test_a_file_that_is_no_task_is_told_why(tmp_path: Path) -> None:
    file = tmp_path / "t.yaml"
    file.write_text("name: t\nversion: 1\nsays: s\ndata: d\nprompt: p\nanswer: a\nshot: 5\n")
    with pytest.raises(UsageError, match="shot"):
        load_task(str(file))


def test_a_field_that_a_row_lacks_is_named_with_the_row() -> None:
    with pytest.raises(DataError, match=r"c.jsonl:3: .*'question' is undefined"):
        render("{{ question }}", {"q": 1}, "c.jsonl:3")


def test_a_template_cannot_leave_its_sandbox() -> None:
    with pytest.raises(DataError, match="unsafe"):
        render("{{ ''.__class__.__mro__ }}", {}, "c.jsonl:1")


def test_options_are_templates_or_an_expression_for_a_list() -> None:
    row = {"q": "?", "choices": {"text": ["red", "green"]}}
    assert options_of(Task(**FIELDS, options=("A{{ q }}", "B")), row, "x") == ("A?", "B")  # type: ignore[arg-type]
    assert options_of(Task(**FIELDS, options="choices.text"), row, "x") == ("red", "green")  # type: ignore[arg-type]
    with pytest.raises(DataError, match="not a list"):
        options_of(Task(**FIELDS, options="q"), row, "x")  # type: ignore[arg-type]


def test_files_are_found_with_their_subsets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("b", "a"):
        (tmp_path / f"{name}_test.csv").touch()
    monkeypatch.setenv("TUNESMITH_DATA", str(tmp_path))
    assert [subset for _, subset in files_of("{subset}_test.csv", Path("task.yaml"))] == ["a", "b"]
    with pytest.raises(DataError, match="TUNESMITH_DATA"):
        files_of("nothing.csv", tmp_path / "task.yaml")


LAUGHS = "a: &a [x, x]\nb: &b [*a, *a]\nc: [*b, *b]\n"


@pytest.mark.parametrize("text", ["a: &a [*a]\n", LAUGHS, "[" * 500, "a: 0b2\n", "a: 1\na: 2\n"])
def test_a_file_that_would_fill_the_memory_or_break_the_reader_is_refused(text: str, tmp_path: Path) -> None:
    file = tmp_path / "t.yaml"
    file.write_text(text)
    with pytest.raises(UsageError, match=r"t\.yaml: "):
        load_task(str(file))
