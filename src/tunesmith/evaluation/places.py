"""Where the rows of a task stand: files of this machine first, the data set of the hub that the task names otherwise.

The decision: who has the files needs no network and meets no change of a data set; who has not names the benchmark and
gets it. What the hub's rows call otherwise is put right by templates of the task, so a question is the same from both.
"""

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from tunesmith.data.remote import HUB, fetch, is_remote, listed
from tunesmith.errors import DataError
from tunesmith.evaluation.task import Task

DATA = "TUNESMITH_DATA"
_SUBSET = "{subset}"


@dataclass(frozen=True, slots=True)
class Place:
    """A file of rows, the subset that it is ("" without one), and templates of fields that its rows lack."""

    path: Path
    subset: str
    fields: Mapping[str, str] = field(default_factory=dict)


def questions_at(task: Task, beside: Path, subset: str | None) -> list[Place]:
    """The files of a task's questions, by subset; only the one that is named, where one is.

    Raises:
        DataError: there are none here, nor on the hub, or none of this subset.
    """
    try:
        return [Place(path, name) for path, name in files_of(task.data, beside) if subset in (None, name)]
    except DataError as error:
        if task.hub is None:
            raise
        return _on_hub(task, subset, error)


def shots_at(task: Task, pattern: str, beside: Path, subset: str) -> Place:
    """The file of the solved rows of a subset, the first where there are several.

    Raises:
        DataError: it is neither here nor on the hub.
    """
    try:
        return Place(files_of(pattern.replace(_SUBSET, subset), beside)[0][0], subset)
    except DataError as error:
        if task.hub is None or task.hub.shots is None:
            raise
        return Place(_fetched(task.hub.shots.replace(_SUBSET, subset), error)[0], subset, task.hub.fields)


def files_of(pattern: str, beside: Path) -> list[tuple[Path, str]]:
    """The files that a task's path means, each with its subset ("" without one), by name.

    A path is looked for below TUNESMITH_DATA, then beside the task, then from the working folder; an address
    (`https://…`, `hub:OWNER/NAME:SPLIT`) is fetched.

    Raises:
        DataError: there is none; says where was looked.
    """
    if is_remote(pattern):
        return [(path, "") for path in fetch(pattern)]
    looked = [Path(os.environ[DATA])] if os.environ.get(DATA) else []
    looked += [beside.parent, Path()]
    for folder in looked:
        found = sorted(folder.glob(pattern.replace(_SUBSET, "*")))
        if found:
            return [(path, _subset_of(path, folder / pattern)) for path in found]
    places = ", ".join(str(folder.absolute()) for folder in looked)
    raise DataError(f"{pattern}: no such file in {places}. Set {DATA} to the folder of your benchmark files.")


def _subset_of(path: Path, pattern: Path) -> str:
    if _SUBSET not in str(pattern):
        return ""
    matcher = re.escape(str(pattern)).replace(re.escape(_SUBSET), "(.+)")
    match = re.fullmatch(matcher, str(path))
    return match.group(1) if match else ""


def _on_hub(task: Task, subset: str | None, missing: DataError) -> list[Place]:
    assert task.hub is not None
    if _SUBSET in task.hub.data:
        names = [subset] if subset is not None else _subsets(task, missing)
    else:
        names = [""] if subset is None else []
    return [
        Place(path, name, task.hub.fields)
        for name in names
        for path in _fetched(task.hub.data.replace(_SUBSET, name), missing)
    ]


def _subsets(task: Task, missing: DataError) -> list[str]:
    """The subsets of a data set on the hub, by name."""
    assert task.hub is not None
    try:
        names = {name.split("/")[-3] for name in listed(HUB + task.hub.data.replace(_SUBSET, "*"))}
    except DataError as error:
        raise DataError(
            f"{str(missing).rstrip('.')}; or name a subset, for the hub does not list them: {error}"
        ) from error
    if not names:
        raise DataError(f"{str(missing).rstrip('.')}; and the hub's {task.hub.data} holds no subset.")
    return sorted(names - set(task.hub.without))


def _fetched(name: str, missing: DataError) -> list[Path]:
    try:
        return fetch(HUB + name)
    except DataError as error:
        raise DataError(f"{str(missing).rstrip('.')}; and the hub does not give it: {error}") from error
