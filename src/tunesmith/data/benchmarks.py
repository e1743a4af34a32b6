"""The questions of well-known benchmarks, by name, from the folder that `TUNESMITH_DATA` names.

The decision: only what is asked is read, in the files that the benchmarks are published as; nothing is fetched. A
question is an example without an answer, so it is looked for in training data like any held-out prompt.
"""

import csv
import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tunesmith.data.example import Example, Message, Origin
from tunesmith.data.records import Record, read_file
from tunesmith.errors import DataError

FOLDER = "TUNESMITH_DATA"
Questions = Iterator[tuple[int, Any]]


@dataclass(frozen=True, slots=True)
class _Files:
    """Where a benchmark's questions stand below its folder, and how a file is read: places and questions."""

    pattern: str
    questions: Callable[[Path], Questions]


def _field(name: str) -> Callable[[Path], Questions]:
    def read(file: Path) -> Questions:
        for row in read_file(file):
            if isinstance(row, Record) and isinstance(row.value, Mapping):
                asked = row.value.get(name)
                yield from ((row.origin.line, text) for text in (asked if isinstance(asked, list) else [asked]))

    return read


def _first_column(file: Path) -> Questions:
    # MMLU's files have no header: question, four options, answer.
    with file.open(encoding="utf-8", newline="") as text:
        rows = csv.reader(text)
        yield from ((rows.line_num, row[0]) for row in rows if row)


def _tasks(file: Path) -> Questions:
    for row in read_file(file):
        if isinstance(row, Record) and isinstance(row.value, Mapping):
            tasks = row.value.get("examples")
            rows = tasks if isinstance(tasks, list) else [row.value]
            yield from ((number, task.get("input")) for number, task in enumerate(rows, start=row.origin.line))


BENCHMARKS: Mapping[str, _Files] = {
    "mmlu": _Files("test/*.csv", _first_column),
    "gsm8k": _Files("test.jsonl", _field("question")),
    "bbh": _Files("*.json", _tasks),
    "ifeval": _Files("input_data.jsonl", _field("prompt")),
    "mt_bench": _Files("question.jsonl", _field("turns")),
    "alpaca_eval": _Files("text_davinci_003.json", _field("instruction")),
}


def benchmark(name: str) -> tuple[Example, ...] | None:
    """The questions of the benchmark of this name; None where a file has the name, or no benchmark.

    Raises:
        DataError: its files are not there.
    """
    key = name.lower().replace("-", "_")
    if key not in BENCHMARKS or Path(name).is_file():
        return None
    files, folder = BENCHMARKS[key], _folder(key)
    found = sorted(folder.glob(files.pattern))
    if not found:
        raise DataError(
            f"{name}: {folder / files.pattern} does not exist. Name the folder that holds {key}/: {FOLDER}=…"
        )
    return tuple(
        Example((Message("user", text),), Origin(str(file), line))
        for file in found
        for line, text in files.questions(file)
        if isinstance(text, str) and text.strip()
    )


def benchmark_of(file: str) -> str | None:
    """The name of the benchmark that a file is part of; None of other files."""
    return next((key for key in BENCHMARKS if Path(file).is_relative_to(_folder(key))), None)


def _folder(key: str) -> Path:
    return Path(os.environ.get(FOLDER, ".")) / key
