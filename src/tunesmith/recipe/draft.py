"""A recipe in the making while another tool's configuration is translated key by key.

The decision: every key that is read leaves a trace, a value with a comment or a note with a reason, so the sum over
the keys of a configuration always agrees: nothing is lost silently.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from tunesmith.recipe.faults import known


class Untranslatable(ValueError):
    """A value that has no exact counterpart; says why."""


@dataclass(slots=True)
class Draft:
    """What is left to translate, what it became, and what has to be said about it."""

    rest: dict[str, Any]
    values: dict[str, Any] = field(default_factory=dict)
    comments: dict[str, str] = field(default_factory=dict)
    reasons: dict[str, list[str]] = field(default_factory=dict)
    """The keys that are not translated, or not exactly, by the reason."""

    def take(self, *keys: str) -> dict[str, Any]:
        """Remove those of the keys that are written and not null, and return them with their values."""
        return {key: self.rest.pop(key) for key in keys if self.rest.get(key) is not None}

    def put(self, setting: str, value: Any, comment: str) -> None:
        """Give a setting its value and the reason."""
        self.values[setting] = value
        self.comments[setting] = comment

    def note(self, keys: str | Iterable[str], reason: str) -> None:
        """Say why keys are not translated, or not exactly."""
        self.reasons.setdefault(reason, []).extend([keys] if isinstance(keys, str) else keys)

    @property
    def notes(self) -> list[str]:
        """One sentence for each reason, with the keys that it holds for."""
        return [f"{', '.join(keys)}: {reason}." for reason, keys in self.reasons.items()]

    def tree(self) -> dict[str, Any]:
        """The values as nested mappings, in the order in which the settings are documented."""
        order = list(dict.fromkeys(setting.name for setting in known()))
        tree: dict[str, Any] = {}
        for name, value in sorted(self.values.items(), key=lambda item: order.index(item[0])):
            at = tree
            *path, leaf = name.split(".")
            for part in path:
                at = at.setdefault(part, {})
            at[leaf] = value
        return tree


def written(keys: Mapping[str, Any]) -> str:
    """Keys and values as they stood: `micro_batch_size 2, gradient_accumulation_steps 4`."""
    return ", ".join(f"{key} {value}" for key, value in keys.items())
