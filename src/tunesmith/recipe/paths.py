"""Which settings hold paths, and what a path means in the place where it is written.

The decision: a path in a recipe is relative to the recipe's own folder, so a recipe and its data move together; on
the command line it is relative to the working folder, as everywhere. Names that are not paths pass unchanged.
"""

import os
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from tunesmith.data.remote import is_remote
from tunesmith.recipe.recipe import Recipe

ALWAYS = ("run", "data.train", "data.validation", "data.test")
"""Settings whose text is a path."""

WHERE_IT_EXISTS = ("model", "supervision.chat_template", "retention.text", "keeping.replay_text")
"""Settings whose text may be a name instead: a path when it looks like one or exists beside the recipe."""


def anchored(tree: dict[str, Any], folder: Path) -> dict[str, Any]:
    """The tree with the paths that are written relative to `folder` as seen from the working folder."""
    return _mapped(tree, lambda name, text: os.path.normpath(folder / text) if _is_path(name, text, folder) else text)


def relative(tree: dict[str, Any], folder: Path) -> dict[str, Any]:
    """The tree with its paths written so that a recipe lying in `folder` means the same files."""
    here = Path()
    return _mapped(tree, lambda name, text: _from(folder, text) if _is_path(name, text, here) else text)


def data_files(recipe: Recipe) -> list[str]:
    """The local files and folders that a recipe reads its data from, as they are written."""
    data = recipe.data
    train = (data.train,) if isinstance(data.train, str) else data.train
    return [name for name in (*train, data.validation, data.test) if isinstance(name, str) and not is_remote(name)]


def _is_path(name: str, text: str, folder: Path) -> bool:
    if is_remote(text):
        return False
    if name in ALWAYS:
        return True
    looks = text.startswith((".", "/", "~")) or text.endswith((".gguf", ".jinja"))
    return looks or (folder / text).exists()


def _mapped(tree: dict[str, Any], change: Callable[[str, str], str]) -> dict[str, Any]:
    changed = dict(tree)
    for name in (*ALWAYS, *WHERE_IT_EXISTS):
        group, _, leaf = name.rpartition(".")
        holder = changed.get(group) if group else changed
        if not isinstance(holder, dict) or leaf not in holder:
            continue
        holder = dict(holder)
        holder[leaf] = _each(holder[leaf], partial(_expanded, change, name))
        changed = {**changed, group: holder} if group else holder
    return changed


def _from(folder: Path, text: str) -> str:
    path, start = os.path.abspath(text), os.path.abspath(folder)
    # A way that climbs up to the root says nothing that the full path does not say better.
    return path if len(Path(os.path.commonpath([path, start])).parts) < 2 else os.path.relpath(path, start)


def _expanded(change: Callable[[str, str], str], name: str, text: str) -> str:
    return change(name, os.path.expanduser(text))


def _each(value: Any, change: Callable[[str], str]) -> Any:
    if isinstance(value, str):
        return change(value)
    if isinstance(value, list):
        return [change(part) if isinstance(part, str) else part for part in value]
    return value
