"""The base of all settings: frozen, strict values that refuse what they do not know.

The decision: a setting that nobody reads must not be writable, so unknown names are errors everywhere. This module
stands at the bottom with `errors`, because each room keeps its own settings beside the code that reads them.
"""

from pydantic import BaseModel, ConfigDict


class Settings(BaseModel):
    """A frozen group of settings; unknown names and loose types are refused."""

    model_config = ConfigDict(frozen=True, strict=True, extra="forbid", use_attribute_docstrings=True)
