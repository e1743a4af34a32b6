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
    """Metrics of `evaluate` measured at every validation besides, by name (`exact_match`). Default: `accuracy` of at
    most 64 answers where they are short labels, else none."""
    answers: int = Field(default=200, ge=1)
    """Most validation examples that are answered for them, the first ones, and most test examples for the report."""
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
    recompute: Literal["auto", "none", "full"] | Annotated[int, Field(ge=0)] = "auto"
    """Blocks whose activations are computed again in the backward instead of kept: none, all (`full`), or a number.
    auto: as few as memory allows. The result is the same to the bit."""
    compile: Literal["auto", "on", "off"] = "auto"
    """Whether torch compiles the blocks: auto does so on a GPU, where a trial shows that they compute the same."""
    threads: int | None = Field(default=None, ge=1)
    """Threads of the matrix products. Default: the machine's cores."""
    deterministic: bool = False
    """On a GPU, only operations that give the same bits every time, which is slower. On a CPU they always do."""


class KeepingSettings(Settings):
    """Ways to keep what the base model can while it learns; all off by default, and each goes with any other."""

    replay: float = Field(default=0.0, ge=0, le=0.9)
    """The share of training examples, and of the loss, that is general text (Robins, 1995)."""
    replay_text: str = "auto"
    """Where replay, and `ewc`, take it from: `auto` is what the base model writes for itself; or a file of plain text
    or of earlier training data."""
    kl: float = Field(default=0.0, ge=0)
    """What a nat of KL(base ‖ tuned) at the supervised tokens costs beside a nat of loss (Li & Hoiem, 2016). The base
    is the model with its adapter off, or a second model in memory where there is no adapter."""
    l2_sp: float = Field(default=0.0, ge=0)
    """Half of this times the squared distance of the weights from the base's is added to the loss (Li et al., 2018)."""
    ewc: float = Field(default=0.0, ge=0)
    """The same with every weight counted by the Fisher information of general text (Kirkpatrick et al., 2017): at 1, a
    nat of KL there costs about as much as a nat of loss."""
    most_lost: float | None = Field(default=None, ge=0)
    """Nats per token of general text that the best checkpoint may have lost: a validation that lost more is not better
    than one before it, so patience ends the run there. The rule is ours: early stopping on two numbers."""
    interpolate: Literal["off", "whole", "layers"] = "off"
    """After training, go back towards the base (Wortsman et al., 2021): as far as `cost` allows on the validation set,
    with one share for the `whole` network, or one for each third of its `layers` (Lin et al., 2023)."""
    cost: float = Field(default=0.02, ge=0, lt=1)
    """The share of what the metric gained that `interpolate` may give up."""
    rewrite: bool = False
    """Let the base model say the training answers in its own words first, and train on those that are still right
    (Yang et al., 2024)."""


class CheckpointSettings(Settings):
    """How often a run can be resumed from, and how much is kept."""

    every: Annotated[int, Field(ge=1)] | Literal["epoch"] | None = None
    """Every so many steps. Default: at each validation, and often enough to lose at most some minutes."""
    keep: int = Field(default=2, ge=1)
    """How many of the newest checkpoints stay, the one before the last in case that is damaged; the best is kept
    besides."""
