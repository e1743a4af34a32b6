from datetime import date
from decimal import Decimal
from pathlib import Path

import pytest
from unit.tokens.test_sandbox import ESCAPES, LEAKS

from tunesmith.errors import DataError, UsageError
from tunesmith.evaluation.task import Task, known, load_task, options_of, render

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


LAUGHS = "a: &a [x, x]\nb: &b [*a, *a]\nc: [*b, *b]\n"


@pytest.mark.parametrize("text", ["a: &a [*a]\n", LAUGHS, "[" * 500, "a: 0b2\n", "a: 1\na: 2\n"])
def test_a_file_that_would_fill_the_memory_or_break_the_reader_is_refused(text: str, tmp_path: Path) -> None:
    file = tmp_path / "t.yaml"
    file.write_text(text)
    with pytest.raises(UsageError, match=r"t\.yaml: "):
        load_task(str(file))


BOMBS = [
    "'x' * 50000000", "'x'|center(2000000000)", "'{:>1000000000}'.format(1)", "range(99999999)|list",
    "(9 ** 64) ** 64 ** 64", "[1]|batch(1000000000, 0)|list",
]  # fmt: skip
ENDLESS = "{% set r = range(99999)|list %}{% for i in r %}{% if r|map('string')|list|length %}{% endif %}{% endfor %}"


@pytest.mark.parametrize("bomb", BOMBS)
@pytest.mark.usefixtures("hurried")
def test_a_template_that_would_fill_the_memory_or_never_end_is_refused_with_its_row(bomb: str) -> None:
    with pytest.raises(DataError, match=r"c\.jsonl:3: the task's template does not fit this row: "):
        render("{{ " + bomb + " }}", {}, "c.jsonl:3")
    with pytest.raises(DataError, match=r"c\.jsonl:3: the task's options do not fit this row: "):
        options_of(Task(**FIELDS, options=bomb), {}, "c.jsonl:3")  # type: ignore[arg-type]
    assert render("{{ q }}", {"q": "still here"}, "c.jsonl:4") == "still here"


@pytest.mark.usefixtures("hurried")
def test_a_template_that_loops_for_long_is_stopped_and_said_to_be() -> None:
    with pytest.raises(DataError, match=r"does not fit this row: it takes more than 0\.5 seconds\."):
        render(ENDLESS, {}, "c.jsonl:3")


@pytest.mark.parametrize("source", ESCAPES)
def test_what_a_chat_template_cannot_reach_no_template_of_a_task_does(source: str) -> None:
    try:
        text = render(source, {"messages": [{"role": "user", "content": "hi"}]}, "c.jsonl:3")
    except DataError:
        return
    assert not any(leak in text for leak in LEAKS)


def test_a_value_that_is_no_json_is_seen_as_its_text() -> None:
    assert (
        render("{{ day }} {{ price }}", {"day": date(2024, 2, 3), "price": Decimal("1.50")}, "x") == "2024-02-03 1.50"
    )
