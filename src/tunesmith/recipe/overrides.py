"""`key=value` on the command line: every setting can be reached, and values read as they do in a recipe.

The decision: a value is YAML (`false`, `2e-5`, `[a, b]`, `null`), except where the setting takes text and the YAML
reading would not fit it: a revision of digits or a system message with a colon needs no quotes beyond the shell's.
"""

import difflib
import json
from collections.abc import Sequence
from typing import Any, TypeVar

from tunesmith.errors import RecipeError
from tunesmith.recipe.faults import known, known_groups, suggest
from tunesmith.recipe.fields import Setting, settings
from tunesmith.recipe.reading import read_text
from tunesmith.settings import Settings

Group = TypeVar("Group", bound=Settings)

_QUOTES = ('"', "'")


def apply_override(tree: dict[str, Any], override: str) -> tuple[str, Any]:
    """Write one `key=value` into the tree; returns the dotted name and the value.

    Raises:
        RecipeError: it is not `key=value`, the name is unknown, or the value is broken YAML.
    """
    name, text = _parts(override)
    _check(name)
    at = tree
    *path, leaf = name.split(".")
    for part in path:
        if not isinstance(at.get(part), dict):
            at[part] = {}
        at = at[part]
    at[leaf] = _value(name, text, [setting for setting in known() if setting.name == name])
    return name, at[leaf]


def read_group(group: type[Group], overrides: Sequence[str]) -> Group:
    """A group of settings that is no part of a recipe (how to generate) from `key=value` alone.

    Raises:
        RecipeError: a name is unknown or a value does not fit.
    """
    offered = {setting.name: setting for setting in settings(group)}
    tree: dict[str, Any] = {}
    for override in overrides:
        name, text = _parts(override)
        if name not in offered:
            near = difflib.get_close_matches(name, list(offered), n=1)
            hint = f"Did you mean {near[0]}?" if near else f"There are {', '.join(offered)}."
            raise RecipeError(f"the command line: {name} is not a setting here. {hint}")
        tree[name] = _value(name, text, [offered[name]])
        if not offered[name].accepts(tree[name]):
            raise RecipeError(f"the command line: {name} must be {offered[name].expected}; it is {text}.")
    return group.model_validate_json(json.dumps(tree))


def _parts(override: str) -> tuple[str, str]:
    name, equals, text = (part.strip() for part in override.partition("="))
    if not equals or not name:
        raise RecipeError(f"{override}: expected name=value, such as training.epochs=3.")
    return name, text


def _check(name: str) -> None:
    names = {setting.name for setting in known()}
    holders = {setting.name for setting in known() if "mapping" in setting.expected}
    if name in names or name in known_groups() or any(name.startswith(f"{holder}.") for holder in holders):
        return
    raise RecipeError(f"the command line: {name} is not a setting. {suggest(name)}".rstrip())


def _value(name: str, text: str, candidates: Sequence[Setting]) -> Any:
    try:
        value = read_text(text, f"the command line, {name}").values
    except RecipeError:
        if any(setting.accepts(text) for setting in candidates):
            return text
        raise
    takes_text = any(setting.accepts(text) for setting in candidates)
    if takes_text and isinstance(value, str) and not text.startswith(_QUOTES):
        # YAML would end the text at " #"; the shell has already decided where it ends.
        return text
    if takes_text and not any(setting.accepts(value) for setting in candidates):
        return text
    return value
