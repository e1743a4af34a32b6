"""`key=value` on the command line: every setting can be reached, and values read as they do in a recipe.

The decision: a value is YAML (`false`, `2e-5`, `[a, b]`, `null`), except where the setting takes text and the YAML
reading would not fit it: a revision of digits or a system message with a colon needs no quotes beyond the shell's.
"""

from typing import Any

from tunesmith.errors import RecipeError
from tunesmith.recipe.faults import known, known_groups, suggest
from tunesmith.recipe.reading import read_text

_QUOTES = ('"', "'")


def apply_override(tree: dict[str, Any], override: str) -> tuple[str, Any]:
    """Write one `key=value` into the tree; returns the dotted name and the value.

    Raises:
        RecipeError: it is not `key=value`, the name is unknown, or the value is broken YAML.
    """
    name, equals, text = override.partition("=")
    name = name.strip()
    if not equals or not name:
        raise RecipeError(f"{override}: expected name=value, such as training.epochs=3.")
    _check(name)
    at = tree
    *path, leaf = name.split(".")
    for part in path:
        if not isinstance(at.get(part), dict):
            at[part] = {}
        at = at[part]
    at[leaf] = _value(name, text.strip())
    return name, at[leaf]


def _check(name: str) -> None:
    names = {setting.name for setting in known()}
    holders = {setting.name for setting in known() if "mapping" in setting.expected}
    if name in names or name in known_groups() or any(name.startswith(f"{holder}.") for holder in holders):
        return
    raise RecipeError(f"the command line: {name} is not a setting. {suggest(name)}".rstrip())


def _value(name: str, text: str) -> Any:
    candidates = [setting for setting in known() if setting.name == name]
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
