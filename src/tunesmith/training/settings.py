"""What a recipe may say about optimisation, validation and checkpoints.

None means "follows the method, the data or the machine"; `run.prepare` resolves it and prints the reason.
"""

from typing import Annotated, Literal

from pydantic import Field

from tunesmith.settings import Settings

USUAL_RATE = {"full": 2e-5, "frozen": 2e-5, "lora": 2e-4}
"""The usual peak learning rate of each method."""


TokenWeighting = Literal["none", "probability", "entropy"]


class AdamW(Settings):
    """AdamW (Loshchilov & Hutter, 2017, https://arxiv.org/abs/1711.05101), torch's fused implementation."""

    kind: Literal["adamw"] = "adamw"
    beta1: float = Field(default=0.9, ge=0, lt=1)
    """How much of the mean gradient is kept from update to update."""
    beta2: float = Field(default=0.999, ge=0, lt=1)
    """How much of the mean squared gradient is kept from update to update."""
    eps: float = Field(default=1e-8, gt=0)
    """Added to the root of the mean square, so that a gradient near zero is not divided by zero."""


class Sgd(Settings):
    """Stochastic gradient descent with momentum."""

    kind: Literal["sgd"] = "sgd"
    momentum: float = Field(default=0.9, ge=0, lt=1)
    """How much of the last update is kept in the next."""


class ValidationSettings(Settings):
    """When the validation set is read, which number chooses the best checkpoint, and when to give up."""

    every: Annotated[int, Field(ge=1)] | Literal["epoch"] = "epoch"
    """Every so many steps, or at the end of each epoch."""
    metric: str = "validation_loss"
    """The number that chooses the best checkpoint: `validation_loss`, `validation_accuracy` (of tokens), or a metric
    of `evaluate`, as `task_exact_match`."""
    metrics: tuple[str, ...] = ()
    """Metrics of `evaluate` measured at every validation besides, by name (`exact_match`)."""
    answers: int = Field(default=200, ge=1)
    """Most validation examples that are answered for them, the first ones."""
    patience: int | None = Field(default=None, ge=1)
    """Stop after so many validations without a better one."""
    min_improvement: float = Field(default=0.0, ge=0)
    """By how much a validation must be better to count as better."""


class TrainingSettings(Settings):
    """How the parameters move. `batch_size` changes the result; `micro_batch_tokens` does not, beyond rounding."""

    learning_rate: float | None = Field(default=None, gt=0)
    """Peak learning rate. Default: 2e-5 for full and frozen, 2e-4 for LoRA."""
    batch_size: int | None = Field(default=None, ge=1)
    """Examples per optimizer update, all processes together."""
    epochs: int | None = Field(default=None, ge=1)
    """How often every example is seen. Default: more for fewer examples, with early stopping."""
    steps: int | None = Field(default=None, ge=1)
    """Optimizer updates; wins over `epochs`."""
    optimizer: Annotated[AdamW | Sgd, Field(discriminator="kind")] = AdamW()
    weight_decay: float | None = Field(default=None, ge=0)
    """Decoupled weight decay; never on biases and norms. Default: 0.01 for full and frozen, 0 for LoRA."""
    schedule: Literal["constant", "linear", "cosine"] = "cosine"
    """How the learning rate goes on after the warmup: it stays, or falls to zero on a line or half a cosine."""
    warmup: int | float | None = Field(default=None, ge=0)
    """Updates over which the learning rate rises: a number of steps, or a share of all steps below 1."""
    clip: float | None = Field(default=1.0, gt=0)
    """The largest norm of the gradient; None for no clipping."""
    token_weighting: TokenWeighting = "none"
    """What a target counts by the model's own view of it: its `probability` (DFT), or the `entropy` of what the model
    expects there (EAFT), both to keep what the model knows."""
    label_smoothing: float = Field(default=0.0, ge=0, lt=1)
    """How much of the target's probability is spread over all tokens (Szegedy et al., 2015)."""
    validation: ValidationSettings = ValidationSettings()
    sharing: bool = True
    """Compute shared beginnings once. Off wherever it would not be exact."""
    dtype: Literal["auto", "float32", "bfloat16"] = "auto"
    """What the network computes in; auto takes what this machine does well."""
    micro_batch_tokens: int | None = Field(default=None, ge=1)
    """Most tokens computed at once. Default: chosen from shapes and the machine's total memory."""
    threads: int | None = Field(default=None, ge=1)
    """Threads of the matrix products. Default: the machine's cores."""


class CheckpointSettings(Settings):
    """How often a run can be resumed from, and how much is kept."""

    every: Annotated[int, Field(ge=1)] | Literal["epoch"] | None = None
    """Every so many steps. Default: at each validation, and often enough to lose at most some minutes."""
    keep: int = Field(default=1, ge=1)
    """How many of the newest checkpoints stay; the best is kept besides."""
