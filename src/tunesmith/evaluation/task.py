"""Task: a benchmark as data, a YAML file that says which rows are asked, how, and how answers count.

The decision: a task is ten lines that its user writes and reads: where the rows stand, a template for the prompt, and
either the options between which the likeliest is chosen or how far an answer may go. A task has a version; whoever
changes what is asked raises it. Templates run where chat templates do, in a sandbox inside a process with limits, and
fail on a field that a row does not have.
"""

import json
from collections.abc import Mapping
from importlib import resources
from pathlib import Path
from typing import Any

from pydantic import Field, ValidationError
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from tunesmith.errors import DataError, TemplateError, UsageError
from tunesmith.settings import Settings
from tunesmith.tokens.confined import filled, listed

LARGEST = 1_000_000


class Shots(Settings):
    """Solved rows that stand before each question: the first `count` of their file, or of `rows` given here."""

    data: str | None = None
    """The file of the solved rows; `{subset}` is that of the question."""
    count: int = Field(default=5, ge=0)
    """How many stand before a question, unless asked otherwise."""
    rows: tuple[Mapping[str, Any], ...] = ()
    """The rows themselves, where they are few."""
    join: str = "\n\n"
    """What stands between them."""


class Hub(Settings):
    """Where the rows stand on the hub, for whoever does not have the files: `OWNER/NAME:SUBSET:SPLIT`."""

    data: str
    """The rows; `{subset}` stands for any name."""
    shots: str | None = None
    """The solved rows."""
    fields: Mapping[str, str] = {}
    """Templates of the fields that the hub's rows lack."""
    without: tuple[str, ...] = ()
    """Subsets of the data set that are none of the benchmark."""


class Task(Settings):
    """One benchmark. Templates see the fields of a row, and `subset`."""

    name: str
    """What the task is called."""
    version: int = Field(ge=1)
    """Raised whenever the same model would be asked otherwise."""
    says: str
    """What the score means, and its source."""
    data: str
    """The file of the rows, below TUNESMITH_DATA or beside the task, where `{subset}` stands for any name; or an
    address (`https://…`, `hub:OWNER/NAME:SPLIT`)."""
    hub: Hub | None = None
    """The same rows on the hub."""
    at: str | None = None
    """The field of a JSON file that holds its rows."""
    columns: tuple[str, ...] | None = None
    """The names of the columns of a CSV file without a header."""
    shots: Shots | None = None
    """Solved rows before each question."""
    description: str = ""
    """A template that stands once before everything."""
    prompt: str
    """The template of a question."""
    answer: str
    """The template of its right answer; with options, the text of the right one."""
    options: tuple[str, ...] | str | None = None
    """Templates of the options, or an expression for a list of texts; the likeliest is the answer."""
    between: str = " "
    """What stands between a prompt and its answer."""
    chat: bool = False
    """Ask through the model's chat template instead of as plain text."""
    until: tuple[str, ...] = ("\n\n",)
    """Texts at which a generated answer ends."""
    keep_spaces: bool = False
    """Keep the white space around a generated answer, as code needs it."""
    samples: int = Field(default=1, ge=1)
    """How many answers are written to each question; above 1 they are drawn at `temperature`."""
    temperature: float = Field(default=0.8, gt=0)
    """Of the draws, where there are several."""
    max_new_tokens: int = Field(default=256, ge=1)
    """The longest generated answer."""
    metrics: tuple[str, ...] = ()
    """The metrics, the deciding one first; by default the choice of the right option, or an exact match."""


def deciding(task: Task) -> tuple[str, ...]:
    """The metric of a task by which models are told apart."""
    return task.metrics[:1] or (("choice",) if task.options else ("exact_match",))


def render(template: str, row: Mapping[str, Any], where: str) -> str:
    """The text of a template for a row; `where` names the row in an error.

    Raises:
        DataError: the row lacks a field, or the template does not work on it.
    """
    try:
        return filled(template, row)
    except TemplateError as error:
        raise DataError(f"{where}: the task's template does not fit this row: {str(error).rstrip('.')}.") from error


def options_of(task: Task, row: Mapping[str, Any], where: str) -> tuple[str, ...]:
    """The options of a row as texts; none where the answer is written freely.

    Raises:
        DataError: as `render`, or an expression that gives no list of texts.
    """
    if task.options is None:
        return ()
    if not isinstance(task.options, str):
        return tuple(render(option, row, where) for option in task.options)
    try:
        return listed(task.options, row)
    except TemplateError as error:
        raise DataError(f"{where}: the task's options do not fit this row: {str(error).rstrip('.')}.") from error


def known() -> dict[str, Path]:
    """The tasks that come with Tunesmith, by name."""
    folder = Path(str(resources.files("tunesmith.evaluation") / "tasks"))
    return {path.stem: path for path in sorted(folder.glob("*.yaml"))}


def load_task(name: str) -> tuple[Task, Path, str | None]:
    """The task of a name or a YAML file, where it stands, and the one subset that is meant (`mmlu:anatomy`).

    Raises:
        UsageError: there is no such task, or the file is none; says which there are.
    """
    path, subset = (Path(name), None) if name.endswith((".yaml", ".yml")) else (None, name.partition(":")[2] or None)
    if path is None:
        path = known().get(name.partition(":")[0])
    if path is None or not path.is_file():
        raise UsageError(f"There is no task {name!r}. Known: {', '.join(known())}; or name a YAML file that is one.")
    if path.stat().st_size > LARGEST:
        raise UsageError(f"{path}: too large for a task (at most {LARGEST:,} bytes).")
    try:
        text = path.read_text(encoding="utf-8")
        # A few lines of them can stand for more values than any memory holds.
        if any(getattr(event, "anchor", None) is not None for event in YAML(typ="safe", pure=True).parse(text)):
            raise UsageError(f"{path}: anchors (&) and aliases (*) are not read. Write the values out.")
        tree = YAML(typ="safe", pure=True).load(text)
        return Task.model_validate_json(json.dumps(tree)), path, subset
    except YAMLError as error:
        raise UsageError(f"{path}: this is not YAML that can be read: {error}.") from error
    except (ValueError, TypeError, RecursionError) as error:
        first = error.errors()[0] if isinstance(error, ValidationError) else None
        what = f"{'.'.join(map(str, first['loc']))}: {first['msg']}" if first else str(error)
        raise UsageError(f"{path}: this is not a task: {what}.") from error
