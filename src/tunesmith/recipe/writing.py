"""A recipe as YAML that says of every value where it came from.

The decision: what is written reads back as the same recipe, in this reader and in YAML 1.1 readers; origins and
reasons stand beside the values as comments, so the file of a run explains itself without a tool.
"""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from tunesmith.recipe.faults import known_groups
from tunesmith.recipe.paths import relative
from tunesmith.recipe.recipe import Recipe

_PLAIN = re.compile(r"[A-Za-z_][A-Za-z0-9_./*-]*")
_AMBIGUOUS = {"null", "true", "false", "yes", "no", "on", "off", "y", "n"}
"""Plain words that some YAML reader takes for something else than text."""


def dump(recipe: Recipe, comments: Mapping[str, str], *, header: Sequence[str] = (), folder: Path | None = None) -> str:
    """The recipe as YAML; `comments` stand beside the values by dotted name, `header` lines above all.

    With `folder` given, paths are written as seen from there, so that the recipe can lie in it.
    """
    tree = recipe.model_dump(mode="json")
    if folder is not None:
        tree = relative(tree, folder)
    lines = [f"# {line}".rstrip() for line in header]
    return "\n".join([*lines, *_lines(tree, comments, "", "")]) + "\n"


def write_tree(tree: Mapping[str, Any], comments: Mapping[str, str]) -> str:
    """Nested plain data as YAML with a comment beside each commented value."""
    return "\n".join(_lines(tree, comments, "", "")) + "\n"


def _lines(tree: Mapping[str, Any], comments: Mapping[str, str], prefix: str, indent: str) -> Iterator[str]:
    for key, value in tree.items():
        name = f"{prefix}{key}"
        comment = " ".join(_printable(comments.get(name, "")).split())
        beside = f"  # {comment}" if comment else ""
        if isinstance(value, Mapping) and name in known_groups():
            yield f"{indent}{_scalar(key)}:{beside}"
            yield from _lines(value, comments, f"{name}.", f"{indent}  ")
        else:
            yield f"{indent}{_scalar(key)}: {_flow(value)}{beside}"


def _flow(value: Any) -> str:
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{_scalar(key)}: {_flow(inner)}" for key, inner in value.items()) + "}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(_flow(inner) for inner in value) + "]"
    return _scalar(value)


def _scalar(value: Any) -> str:
    if isinstance(value, str) and _PLAIN.fullmatch(value) and value.lower() not in _AMBIGUOUS:
        return value
    if isinstance(value, float):
        return _number(value)
    if isinstance(value, str):
        return "".join(c if c.isprintable() else _escaped(c) for c in json.dumps(value, ensure_ascii=False))
    return json.dumps(value)


def _escaped(character: str) -> str:
    # JSON writes characters beyond U+FFFF as two escapes, which YAML would read as two characters.
    return f"\\U{ord(character):08x}"


def _printable(text: str) -> str:
    return "".join(c if c.isprintable() else " " for c in text)


def _number(value: float) -> str:
    """A float with a point in it: YAML 1.1 reads 2e-05 as text."""
    text = repr(value)
    mantissa, e, exponent = text.partition("e")
    return text if "." in mantissa or not e else f"{mantissa}.0e{exponent}"
