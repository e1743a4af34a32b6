"""Sentences about settings that cannot be used: where, what was expected, and what was probably meant.

The decision: all faults of a recipe are told at once, one line each, in the user's names; the words come from the
settings themselves, so a new setting explains itself.
"""

import difflib
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cache
from typing import Any

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from tunesmith.recipe.fields import Setting, groups, settings
from tunesmith.recipe.peers import PEERS
from tunesmith.recipe.recipe import Recipe

MOST = 12
"""Faults told at once; more of them mean that the file is something else."""

Where = Callable[[str], str]
"""From a dotted name to the place where it was written: `support.yaml:7`, `the command line`."""


@cache
def known() -> tuple[Setting, ...]:
    """Every setting of a recipe."""
    return tuple(settings(Recipe))


@cache
def known_groups() -> frozenset[str]:
    """The dotted names of the groups of settings."""
    return frozenset(name for name, _ in groups(Recipe))


def explain(error: ValidationError, tree: Mapping[str, Any], where: Where) -> str:
    """One line for each setting that is unknown, missing or has a wrong value."""
    faults: dict[str, str] = {}
    for detail in error.errors():
        name = _name(detail, tree)
        # The branches of a union fail one by one; the first sentence already tells all that it takes.
        faults.setdefault(name, _sentence(name, detail, tree, where))
    lines = list(faults.values())
    if len(lines) > MOST:
        lines[MOST:] = [f"and {len(lines) - MOST} more"]
    return "\n".join(lines)


def suggest(name: str, kinds: Mapping[str, str] | None = None) -> str:
    """What an unknown setting probably means, as a sentence; empty when nothing is near."""
    leaf = name.rpartition(".")[2]
    same = [s.name for s in known() if s.leaf == leaf]
    if name in same:
        return _other_kind(name, kinds or {})
    if len(same) == 1:
        return f"Did you mean {same[0]}?"
    if peer := PEERS.get(leaf) or PEERS.get(leaf.lower().replace("-", "_")):
        if peer.setting is None:
            return f"There is nothing like it here: {peer.remark}."
        return f"Here it is {peer.setting}{f' ({peer.remark})' if peer.remark else ''}."
    near = _near(name, [s.name for s in known()])
    return f"Did you mean {near}?" if near else ""


def _near(name: str, names: Sequence[str]) -> str | None:
    group, _, leaf = name.rpartition(".")
    leaves = {n.rpartition(".")[2]: n for n in reversed(names) if n.rpartition(".")[0] == group}
    elsewhere = {n.rpartition(".")[2]: n for n in reversed(names)}
    for candidates in (leaves, {n: n for n in names}, elsewhere):
        probe = name if candidates and next(iter(candidates)) in names else leaf
        if found := difflib.get_close_matches(probe, list(candidates), n=1, cutoff=0.72):
            return candidates[found[0]]
    return None


def _other_kind(name: str, kinds: Mapping[str, str]) -> str:
    group = name.rpartition(".")[0]
    owners = ", ".join(str(s.kind) for s in known() if s.name == name)
    kind = kinds.get(group, "another")
    return f"It belongs to {group}.kind: {owners}, and {group}.kind is {kind}. Remove one of them."


def _name(detail: ErrorDetails, tree: Mapping[str, Any]) -> str:
    """The dotted name of a fault: pydantic's path without the names of union branches."""
    at: Any = tree
    parts: list[str] = []
    for part in detail["loc"]:
        if isinstance(at, Mapping) and part in at:
            parts, at = [*parts, str(part)], at[str(part)]
        elif isinstance(at, list) and isinstance(part, int) and part < len(at):
            parts, at = [*parts, str(part)], at[part]
    if detail["type"] == "missing":
        parts.append(str(detail["loc"][-1]))
    return ".".join(parts)


def _sentence(name: str, detail: ErrorDetails, tree: Mapping[str, Any], where: Where) -> str:
    place = where(name)
    match detail["type"]:
        case "extra_forbidden":
            return f"{place}: {name} is not a setting. {suggest(name, _kinds(tree, where))}".rstrip()
        case "missing":
            return f"{place}: {name} is missing{_purpose(name)}"
        case "union_tag_invalid":
            return f"{place}: {name}.kind must be one of {detail['ctx']['expected_tags']}, not {detail['ctx']['tag']}."
        case "value_error":
            return f"{place}: {name}: {detail['ctx']['error']}".replace(": :", ":")
    got = _shown(detail["input"] if detail["type"] != "missing" else None, name, tree)
    return f"{place}: {name} must be {_expected(name, detail)}; it is {got}."


def _kinds(tree: Mapping[str, Any], where: Where) -> dict[str, str]:
    """The kind that each tagged group has in the tree, and where it was said."""
    found = {}
    for name in known_groups():
        group = value_at(tree, name)
        if isinstance(group, Mapping) and "kind" in group:
            found[name] = f"{group['kind']} ({where(f'{name}.kind')})"
    return found


def value_at(tree: Any, name: str) -> Any:
    """The value with a dotted name in nested mappings and lists; None when there is none."""
    for part in name.split("."):
        if isinstance(tree, Mapping):
            tree = tree.get(part)
        elif isinstance(tree, list) and part.isdigit() and int(part) < len(tree):
            tree = tree[int(part)]
        else:
            return None
    return tree


def _purpose(name: str) -> str:
    if name == "data.train":
        return ": the file with the training examples (data.train=examples.jsonl)."
    found = next((s for s in known() if s.name == name), None)
    return f": {found.expected}." if found else "."


def _expected(name: str, detail: ErrorDetails) -> str:
    if name in known_groups():
        return f"a group of settings ({', '.join(_inside(name))})"
    found = next((s for s in known() if s.name == name or name.startswith(f"{s.name}.")), None)
    return found.expected if found else str(detail["msg"])


def _inside(group: str) -> Iterable[str]:
    return list(dict.fromkeys(s.name.removeprefix(f"{group}.") for s in known() if s.name.startswith(f"{group}.")))


def _shown(value: Any, name: str, tree: Mapping[str, Any]) -> str:
    written = value_at(tree, name)
    text = json.dumps(value if written is None else written, ensure_ascii=False, default=str)
    return text if len(text) <= 60 else f"{text[:57]}..."
