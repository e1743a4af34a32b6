"""Which settings exist: every dotted name with its type, default and documentation, read from the settings themselves.

The decision: one walk over the settings classes serves the command line, "did you mean", the schema and the
reference page, so a new setting appears in all of them by being written once.
"""

import json
import types
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Annotated, Any, Literal, Union, get_args, get_origin

import annotated_types
from pydantic import BaseModel, TypeAdapter, ValidationError
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from tunesmith.settings import Settings

REQUIRED = "(required)"

_SIMPLE = {str: "text", bool: "true or false", int: "a whole number", float: "a number", type(None): "null"}


@dataclass(frozen=True, slots=True)
class Setting:
    """One setting: its dotted name, and the `kind` it belongs to where its group is a tagged union."""

    name: str
    info: FieldInfo
    kind: str | None = None

    @property
    def leaf(self) -> str:
        """The last part of the dotted name."""
        return self.name.rpartition(".")[2]

    @property
    def group(self) -> str:
        """The dotted name without its last part; empty at the top."""
        return self.name.rpartition(".")[0]

    @property
    def expected(self) -> str:
        """What a value must be, in words: `a whole number ≥ 1, or null`."""
        words = _words(self.info.annotation)
        text = _bounded(" or ".join(word for word in words if word != "null"), self.info.metadata)
        return f"{text}, or null" if "null" in words else text

    @property
    def default(self) -> Any:
        """The default as plain data, or REQUIRED."""
        if self.info.is_required():
            return REQUIRED
        value = self.info.get_default(call_default_factory=True)
        return value.model_dump(mode="json") if isinstance(value, BaseModel) else value

    def accepts(self, value: Any) -> bool:
        """Whether plain data (as JSON has it) is a valid value."""
        annotation: Any = Annotated[self.info.annotation, self.info]
        try:
            TypeAdapter(annotation).validate_json(json.dumps(value), strict=True)
        except ValidationError:
            return False
        return True


def variants(annotation: Any) -> tuple[type[Settings], ...]:
    """The settings classes that a field may hold: none for a plain value, several for a tagged union."""
    if isinstance(annotation, type) and issubclass(annotation, Settings):
        return (annotation,)
    if get_origin(annotation) in (Union, types.UnionType, Annotated):
        return tuple(found for part in get_args(annotation) for found in variants(part))
    return ()


def settings(group: type[Settings], prefix: str = "", kind: str | None = None) -> Iterator[Setting]:
    """Every setting of a group and the groups in it, in the order they are written, groups themselves left out."""
    for name, info in group.model_fields.items():
        inner = variants(info.annotation)
        if not inner:
            yield Setting(prefix + name, info, kind)
        for variant in inner:
            yield from settings(variant, f"{prefix}{name}.", kind_of(variant) if len(inner) > 1 else None)


def groups(group: type[Settings], prefix: str = "") -> Iterator[tuple[str, FieldInfo]]:
    """Every group of settings by its dotted name."""
    for name, info in group.model_fields.items():
        if inner := variants(info.annotation):
            yield prefix + name, info
            for variant in inner:
                yield from groups(variant, f"{prefix}{name}.")


def kind_of(group: type[Settings]) -> str | None:
    """The tag of a variant (`lora`), or None for a group without one."""
    info = group.model_fields.get("kind")
    return None if info is None or info.default is PydanticUndefined else str(info.default)


def _words(annotation: Any) -> list[str]:
    if annotation in _SIMPLE:
        return [_SIMPLE[annotation]]
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Literal:
        return [f"one of {', '.join(map(str, arguments))}" if len(arguments) > 1 else str(arguments[0])]
    if origin in (Union, types.UnionType):
        words = list(dict.fromkeys(word for part in arguments for word in _words(part)))
        # Every whole number is a number: naming both says nothing more.
        return [w for w in words if w != "a whole number" or "a number" not in words]
    if origin is Annotated:
        return [_bounded(" or ".join(_words(arguments[0])), arguments[1:])]
    if origin in (tuple, list):
        return [f"a list of {' or '.join(_words(arguments[0]))}"]
    return ["a mapping of names to values"]


def _bounded(words: str, metadata: Iterable[Any]) -> str:
    bounds = [text for item in metadata if (text := _bound(item))]
    return f"{words} {' and '.join(bounds)}" if bounds else words


def _bound(item: Any) -> str | None:
    match item:
        case FieldInfo():
            return _bounded("", item.metadata).strip() or None
        case annotated_types.Ge(ge=limit):
            return f"≥ {limit}"
        case annotated_types.Gt(gt=limit):
            return f"> {limit}"
        case annotated_types.Le(le=limit):
            return f"≤ {limit}"
        case annotated_types.Lt(lt=limit):
            return f"< {limit}"
    pattern = getattr(item, "pattern", None)
    return f"of the form {pattern}" if pattern else None
