"""What a recipe may say about its data."""

from typing import Literal

from pydantic import Field

from tunesmith.settings import Settings


class DataSettings(Settings):
    """Which files, how they are read, and what happens to records that cannot be trained."""

    train: str | tuple[str, ...]
    """The training data: a file, or several."""
    validation: str | float | None = None
    """Data for choosing (a file), or the share of `train` set aside; 0 for none. Default: 0.05 of `train`."""
    test: str | float | None = None
    """Data for reporting (a file), or the share of `train` set aside; 0 for none. The base before training and the
    chosen model after it are measured on them, and nothing is chosen by them. Default: 0.05 of `train`, none beside a
    `validation` file.
    """
    format: str | None = None
    """The name of the format; recognised from the content when absent."""
    fields: dict[str, str] = Field(default_factory=dict)
    """Field names of the file, by the format's own names: `{prompt: question, completion: answer}`."""
    system: str | None = None
    """A system message put before every conversation that has none."""
    licence: str | None = None
    """The licence of the data, as it shall stand in the report and the model card."""
    minimum: int = Field(default=10, ge=1)
    """The fewest training examples a run starts with."""
    allow: tuple[str, ...] = ()
    """Names of findings that may stand: records that they stop are left out, and of warnings nothing is said."""
    on_bad_record: Literal["stop", "drop"] = "stop"
    """What to do with a record that cannot be read or used."""
    on_no_target: Literal["stop", "drop"] = "stop"
    """What to do with an example that teaches nothing."""
    on_too_long: Literal["stop", "drop"] = "stop"
    """What to do with an example longer than the context; an answer is never cut."""
