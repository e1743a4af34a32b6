"""The settings of one run, composed from the settings that stand beside the code that reads them.

The decision: a recipe is one frozen value. What it does not say is None or a default here, is resolved once with a
reason (`Loaded.resolve`), and is saved with the run; nothing reads a setting from anywhere else.
"""

from pydantic import Field

from tunesmith.data.settings import DataSettings
from tunesmith.evaluation.settings import RetentionSettings
from tunesmith.models.settings import Lora, Method
from tunesmith.settings import Settings
from tunesmith.tokens.settings import SupervisionSettings
from tunesmith.training.settings import CheckpointSettings, KeepingSettings, TrainingSettings


class Recipe(Settings):
    """Everything that decides what a run does."""

    model: str = "smollm2-135m-instruct"
    """The model to start from: a name that `models list` shows, a hub name, a folder, or a GGUF file."""
    revision: str | None = None
    """The revision of a hub model; its main branch when absent."""
    run: str | None = None
    """The folder of this run; it must not exist yet. Default: `runs/<time>-<name>`."""
    name: str | None = Field(default=None, pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")
    """A short name for the run, part of its default folder. Default: the recipe's or the data's file name."""
    seed: int = Field(default=0, ge=0, lt=2**63)
    """What order and randomness are derived from."""
    data: DataSettings
    supervision: SupervisionSettings = SupervisionSettings()
    method: Method = Lora()
    training: TrainingSettings = TrainingSettings()
    checkpoints: CheckpointSettings = CheckpointSettings()
    keeping: KeepingSettings = KeepingSettings()
    retention: RetentionSettings = RetentionSettings()
