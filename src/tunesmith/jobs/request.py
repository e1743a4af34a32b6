"""What a client asks for when it creates a job.

The decision: the fields, names and limits are those of the OpenAI fine-tuning API; what is ours stands under
`tunesmith` (a recipe) and is absent by default. What is not known is refused, so a setting is never lost in silence.
"""

import hashlib
import json
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, StrictFloat, StrictInt

Text = Annotated[str, Field(pattern=r"^[^\x00]*$")]
Auto = Literal["auto"]


class _Asked(BaseModel):
    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)


class Hyperparameters(_Asked):
    """How often, in what portions, and how fast."""

    n_epochs: Auto | Annotated[StrictInt, Field(ge=1, le=50)] | None = "auto"
    batch_size: Auto | Annotated[StrictInt, Field(ge=1, le=256)] | None = "auto"
    learning_rate_multiplier: Auto | Annotated[StrictFloat | StrictInt, Field(gt=0, le=1000)] | None = "auto"

    def chosen(self) -> dict[str, Any]:
        """The three values; `auto` where the client left it open."""
        return {name: "auto" if value is None else value for name, value in self.model_dump().items()}


class Supervised(_Asked):
    """The settings of supervised fine-tuning."""

    hyperparameters: Hyperparameters = Hyperparameters()


class AskedMethod(_Asked):
    """Which kind of fine-tuning."""

    type: Literal["supervised", "dpo", "reinforcement"]
    supervised: Supervised | None = None
    dpo: dict[str, Any] | None = None
    reinforcement: dict[str, Any] | None = None


class Wandb(_Asked):
    """Where in Weights & Biases the metrics go."""

    project: Annotated[Text, Field(min_length=1, max_length=128)]
    name: Annotated[Text, Field(max_length=128)] | None = None
    entity: Annotated[Text, Field(max_length=128)] | None = None
    tags: Annotated[list[Annotated[Text, Field(min_length=1, max_length=64)]], Field(max_length=50)] = []


class Integration(_Asked):
    """Who else is told of a job's metrics."""

    type: Literal["wandb"]
    wandb: Wandb


class JobRequest(_Asked):
    """The body of `POST /v1/fine_tuning/jobs`."""

    model: Annotated[Text, Field(min_length=1, max_length=400)]
    training_file: Annotated[Text, Field(min_length=1, max_length=64)]
    validation_file: Annotated[Text, Field(max_length=64)] | None = None
    suffix: Annotated[Text, Field(min_length=1, max_length=64)] | None = None
    seed: Annotated[StrictInt, Field(ge=0, le=2147483647)] | None = None
    method: AskedMethod | None = None
    hyperparameters: Hyperparameters | None = None
    metadata: dict[Annotated[Text, Field(max_length=64)], Annotated[Text, Field(max_length=512)]] | None = Field(
        default=None, max_length=16
    )
    integrations: list[Integration] | None = Field(default=None, max_length=5)
    tunesmith: dict[str, Any] | None = None

    @property
    def chosen(self) -> dict[str, Any]:
        """The hyperparameters, wherever they were written."""
        own = self.method.supervised.hyperparameters if self.method and self.method.supervised else None
        return (own or self.hyperparameters or Hyperparameters()).chosen()

    @property
    def sha256(self) -> str:
        """Equal for requests that ask for the same."""
        written = json.dumps(self.model_dump(mode="json"), sort_keys=True)
        return hashlib.sha256(written.encode()).hexdigest()
