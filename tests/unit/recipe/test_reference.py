"""The reference of settings, for editors and for readers."""

from tunesmith.recipe.faults import known
from tunesmith.recipe.reference import json_schema, reference_page


def test_every_setting_says_what_it_means() -> None:
    silent = [setting.name for setting in known() if setting.leaf != "kind" and not setting.info.description]
    assert not silent


def test_the_page_has_a_row_for_every_setting() -> None:
    page = reference_page()
    assert [s.name for s in known() if f"| `{s.name}` |" not in page] == []


def test_the_schema_refuses_what_the_recipe_refuses() -> None:
    schema = json_schema()
    assert schema["additionalProperties"] is False
    assert all(part["additionalProperties"] is False for part in schema["$defs"].values() if part["type"] == "object")
