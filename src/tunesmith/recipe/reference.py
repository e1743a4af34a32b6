"""What may stand in a recipe, for editors (JSON Schema) and for readers (a page).

The decision: both are made from the settings classes and their documentation, so they cannot drift from the code.
"""

import json
from collections.abc import Iterator
from typing import Any

from tunesmith.recipe.faults import known
from tunesmith.recipe.fields import REQUIRED, Setting
from tunesmith.recipe.recipe import Recipe

_HEAD = """# Settings

Every setting of a recipe, made from the code by `tunesmith recipe schema --markdown`. On the command line each is
written as `name=value`; in a file the dots are levels: `training: {epochs: 3}`. Null means: follows the method, the
data or the machine; what it became, and why, stands in the `recipe.yaml` of the run."""


def json_schema() -> dict[str, Any]:
    """JSON Schema (draft 2020-12) of a recipe, with the documentation of every setting."""
    schema = Recipe.model_json_schema()
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema, "title": "Tunesmith recipe"}


def reference_page() -> str:
    """Markdown: a table of every setting for each group, with type, default and meaning."""
    return "\n".join([_HEAD, *_tables()]) + "\n"


def _tables() -> Iterator[str]:
    at: tuple[str, str | None] | None = None
    for setting in known():
        here = (setting.group, setting.kind)
        if here != at:
            yield from _heading(setting)
            at = here
        yield f"| `{setting.name}` | {_cell(setting.expected)} | {_default(setting)} | {_cell(_meaning(setting))} |"


def _heading(setting: Setting) -> Iterator[str]:
    title = f"`{setting.group}`" if setting.group else "The run"
    kind = f" with `kind: {setting.kind}`" if setting.kind else ""
    yield f"\n## {title}{kind}\n"
    yield "| setting | value | default | meaning |"
    yield "|---|---|---|---|"


def _meaning(setting: Setting) -> str:
    if setting.leaf == "kind":
        return f"Chooses `{setting.kind}`, and with it the settings of this table."
    return " ".join((setting.info.description or "").split())


def _default(setting: Setting) -> str:
    if setting.default == REQUIRED:
        return "required"
    return f"`{_cell(json.dumps(setting.default, ensure_ascii=False))}`"


def _cell(text: str) -> str:
    return text.replace("|", "\\|")
