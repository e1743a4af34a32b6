"""A YAML file as plain data that remembers the line of every value.

The decision: YAML 1.2 without its surprises. `no` is text and 2e-5 is a number; a key written twice, a tag, an
anchor, a second document or a number that is not finite is refused with its line, because each of them means
something else to some other reader.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

from tunesmith.errors import RecipeError

LARGEST = 1_000_000
"""Bytes: a recipe is written by a person; anything larger was meant for another reader."""

_TAG = "tag:yaml.org,2002:"


@dataclass(frozen=True, slots=True)
class Document:
    """The values of a YAML document, and the line (from 1) of each by its dotted name."""

    values: Any
    lines: dict[str, int] = field(default_factory=dict)


def read_file(path: Path) -> Document:
    """The mapping that a YAML file holds.

    Raises:
        RecipeError: the file is missing, is not text, is too large, or is not a YAML mapping.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise RecipeError(f"{path}: the file cannot be read ({error.strerror}). Check the path.") from None
    if len(content) > LARGEST:
        raise RecipeError(f"{path}: {len(content):,} bytes are too many for a recipe (at most {LARGEST:,}).")
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise RecipeError(f"{path}: the file is not UTF-8 text. Save it as UTF-8.") from None
    document = read_text(text, str(path))
    if document.values is None:
        raise RecipeError(f"{path}: the file is empty. A recipe needs at least `data: {{train: FILE}}`.")
    if not isinstance(document.values, dict):
        raise RecipeError(f"{path}:1: expected settings as `name: value` lines, got {_shape(document.values)}.")
    return document


def read_text(text: str, where: str) -> Document:
    """The values of YAML text; `where` names it in errors."""
    try:
        node = YAML(typ="safe", pure=True).compose(text)
        lines: dict[str, int] = {}
        return Document(_Reader(where, lines).value(node, "") if node is not None else None, lines)
    except MarkedYAMLError as error:
        raise RecipeError(_syntax(error, where)) from None
    except (YAMLError, ValueError) as error:
        raise RecipeError(f"{where}: this is not YAML: {' '.join(str(error).split())}") from None
    except RecursionError:
        raise RecipeError(f"{where}: the values are nested too deeply for a recipe.") from None


@dataclass(frozen=True, slots=True)
class _Reader:
    where: str
    lines: dict[str, int]

    def value(self, node: Node, name: str) -> Any:
        line = node.start_mark.line + 1
        self.lines.setdefault(name, line)
        if node.anchor is not None:
            raise RecipeError(f"{self.where}:{line}: anchors (&{node.anchor}) are not read. Write the value out.")
        match node:
            case MappingNode():
                return dict(self._pairs(node, name))
            case SequenceNode():
                return [self.value(part, _join(name, str(i))) for i, part in enumerate(node.value)]
            case ScalarNode():
                return self._scalar(node, line)
        raise RecipeError(f"{self.where}:{line}: this value cannot be read. Write it out as plain YAML.")

    def _pairs(self, node: MappingNode, name: str) -> Iterator[tuple[str, Any]]:
        seen: dict[str, int] = {}
        for key, value in node.value:
            line = key.start_mark.line + 1
            if not isinstance(key, ScalarNode):
                raise RecipeError(f"{self.where}:{line}: a name must be plain text, not {_shape(key.value)}.")
            text = str(key.value)
            if text in seen:
                raise RecipeError(f"{self.where}:{line}: {text} is written twice (first in line {seen[text]}).")
            seen[text] = line
            self.lines[_join(name, text)] = line
            yield text, self.value(value, _join(name, text))

    def _scalar(self, node: ScalarNode, line: int) -> Any:
        text = str(node.value)
        match str(node.tag).removeprefix(_TAG):
            case "null":
                return None
            case "bool":
                return text.lower() == "true"
            case "int":
                return _whole(text)
            case "float":
                return self._finite(text, line)
            case "str" | "timestamp":
                return text
            case _:
                raise RecipeError(f"{self.where}:{line}: the tag {node.tag} is not read. Write a plain value.")

    def _finite(self, text: str, line: int) -> float:
        spelled = text.lower().lstrip("+-")
        number = math.inf if spelled in (".inf", ".nan") else float(text.replace("_", ""))
        if not math.isfinite(number):
            raise RecipeError(f"{self.where}:{line}: {text} is not a finite number. No setting takes it.")
        return number


def _whole(text: str) -> int:
    plain = text.replace("_", "")
    digits = plain.lstrip("+-")
    return int(plain, 0) if digits[:2].lower() in ("0x", "0o", "0b") else int(plain)


def _join(name: str, part: str) -> str:
    return f"{name}.{part}" if name else part


def _shape(value: Any) -> str:
    return "a list" if isinstance(value, list) else "a mapping" if isinstance(value, dict) else "a single value"


def _syntax(error: MarkedYAMLError, where: str) -> str:
    mark = error.problem_mark or error.context_mark
    line = f":{mark.line + 1}" if mark else ""
    problem = " ".join(f"{error.context or ''} {error.problem or ''}".split())
    return f"{where}{line}: this is not YAML: {problem}. Check indentation, colons and quotes."
