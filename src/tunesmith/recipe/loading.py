"""A recipe from a file, a data file or the command line, in which every value remembers where it came from.

The decision: file and overrides are merged as plain data and decoded once, strictly; defaults are never merged in.
So a value that was written explicitly can always be told from one that was not, and a contradiction is between two
things that somebody wrote.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from pydantic import ValidationError

from tunesmith.errors import RecipeError
from tunesmith.recipe.faults import Where, explain
from tunesmith.recipe.fields import groups
from tunesmith.recipe.overrides import apply_override
from tunesmith.recipe.paths import anchored
from tunesmith.recipe.reading import read_file
from tunesmith.recipe.recipe import Recipe
from tunesmith.settings import Settings

COMMAND_LINE = "the command line"


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a value came from. `detail` is file:line for a recipe, and the reason for what was resolved."""

    source: Literal["default", "recipe", "command line", "resolved"]
    detail: str = ""

    def __str__(self) -> str:
        match self.source:
            case "recipe":
                return self.detail
            case "resolved":
                return f"resolved: {self.detail}"
        return self.source


DEFAULT = Origin("default")


@dataclass(frozen=True, slots=True)
class Loaded:
    """A recipe, and the origin of every value in it by dotted name."""

    recipe: Recipe
    origins: Mapping[str, Origin]

    def resolve(self, name: str, value: Any, reason: str) -> "Loaded":
        """The same recipe with one value filled in, which remembers the reason.

        Raises:
            RecipeError: the value does not fit the setting.
        """
        tree = self.recipe.model_dump(mode="json")
        group, _, leaf = name.rpartition(".")
        at = tree
        for part in group.split(".") if group else ():
            at = at[part]
        at[leaf] = value
        recipe = decode(tree, lambda _: f"resolved ({reason})")
        return Loaded(recipe, {**self.origins, name: Origin("resolved", reason)})


def load_recipe(path_or_data: str | None, overrides: Sequence[str] = ()) -> Loaded:
    """The recipe of a YAML file, or the shortest one for a data file, with `key=value` overrides on top.

    Paths in the file are relative to the file; paths on the command line to the working folder. A first argument that
    is no file and holds `=` is an override too.

    Raises:
        RecipeError: a setting is unknown, misses, has a wrong value, or contradicts another; all faults at once.
    """
    tree: dict[str, Any] = {}
    origins: dict[str, Origin] = {}
    if path_or_data is not None and "=" in path_or_data and not Path(path_or_data).exists():
        overrides = [path_or_data, *overrides]
        path_or_data = None
    if path_or_data is not None and is_recipe(path_or_data):
        tree, origins = _from_file(Path(path_or_data))
    elif path_or_data is not None:
        tree = {"data": {"train": path_or_data}}
        origins = {"data.train": Origin("command line")}
    for override in overrides:
        name, value = apply_override(tree, override)
        origins = {known: o for known, o in origins.items() if not _within(known, name)}
        origins |= dict.fromkeys(_names(name, value), Origin("command line"))
    fallback = path_or_data if path_or_data is not None and is_recipe(path_or_data) else COMMAND_LINE
    recipe = decode(anchored(tree, Path()), lambda name: _place(origins, name, fallback))
    return Loaded(recipe, {name: origins.get(name, _parts_origin(origins, name)) for name, _ in leaves(recipe)})


def is_recipe(path: str) -> bool:
    """Whether a path names a recipe rather than data."""
    return Path(path).suffix.lower() in (".yaml", ".yml")


def decode(tree: dict[str, Any], where: Where) -> Recipe:
    """The recipe that plain data describes; `where` tells a dotted name's place for errors."""
    tree.setdefault("data", {})
    _default_kinds(tree)
    try:
        return Recipe.model_validate_json(json.dumps(tree))
    except ValidationError as error:
        raise RecipeError(explain(error, tree, where)) from None


def leaves(group: Settings, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Every value of a group by dotted name, in the order they are written."""
    for name in type(group).model_fields:
        value = getattr(group, name)
        if isinstance(value, Settings):
            yield from leaves(value, f"{prefix}{name}.")
        else:
            yield prefix + name, value


def _from_file(path: Path) -> tuple[dict[str, Any], dict[str, Origin]]:
    document = read_file(path)
    for name in document.values:
        if "." in name:
            group, _, rest = name.partition(".")
            place = f"{path}:{document.lines[name]}"
            raise RecipeError(f"{place}: {name}: in a file, write `{group}:` and below it, indented, `{rest}: ...`.")
    # A group with nothing below it (`training:`) reads as null; it says as much as leaving it out.
    tree = {name: {} if value is None and name in _GROUPS else value for name, value in document.values.items()}
    origins = {name: Origin("recipe", f"{path}:{line}") for name, line in document.lines.items() if name}
    return anchored(tree, path.parent), origins


_GROUPS = frozenset(name for name, _ in groups(Recipe))


def _default_kinds(tree: dict[str, Any]) -> None:
    """Give each tagged group that is written without its kind the default kind, so `method.rank=8` suffices."""
    for name, info in groups(Recipe):
        at: Any = tree
        for part in name.split("."):
            at = at.get(part) if isinstance(at, dict) else None
        kind = getattr(info.default, "kind", None)
        if isinstance(at, dict) and kind is not None:
            at.setdefault("kind", kind)


def _names(name: str, value: Any) -> Iterator[str]:
    yield name
    if isinstance(value, dict):
        for part, inner in value.items():
            yield from _names(f"{name}.{part}", inner)


def _parts_origin(origins: Mapping[str, Origin], name: str) -> Origin:
    """The origin of a mapping of which only parts were written (`data.fields.prompt=question`)."""
    return next((origin for known, origin in origins.items() if _within(known, name)), DEFAULT)


def _within(name: str, group: str) -> bool:
    return name == group or name.startswith(f"{group}.")


def _nearest(origins: Mapping[str, Origin], name: str) -> Origin | None:
    """The origin of a name, or of the value that it stands in (`data.fields` for `data.fields.prompt`)."""
    while name:
        if name in origins:
            return origins[name]
        name = name.rpartition(".")[0]
    return None


def _place(origins: Mapping[str, Origin], name: str, fallback: str) -> str:
    origin = _nearest(origins, name)
    if origin is None:
        return fallback
    return COMMAND_LINE if origin.source == "command line" else str(origin)
