"""What a recipe may say about measuring how much of the base model a run keeps. Nothing here changes a weight."""

from pydantic import Field

from tunesmith.settings import Settings


class RetentionSettings(Settings):
    """How every run with validation data measures what it costs its model elsewhere."""

    text: str = "auto"
    """The general text to measure on: `auto` is what the base model writes for itself, made once for each model and
    kept; or a file of plain text; `off` measures nothing."""
    share: float = Field(default=0.08, gt=0, le=1)
    """Most of the training's own work that measuring may cost; a short run is measured on less text."""
    tasks: tuple[str, ...] = ()
    """Benchmarks that base and tuned answer when the run has ended, by name (`mmlu`), beside the share above."""
    items: int = Field(default=200, ge=1)
    """Questions of each of them."""
