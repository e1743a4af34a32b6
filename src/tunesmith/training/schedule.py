"""The learning rate as a pure function of the step.

The decision: nothing is remembered between steps, so a resumed run needs only its step number. Every update learns:
the first one at `peak / warmup`, the last one just above the zero that a decay would reach at `total`.
"""

import math

from tunesmith.errors import RecipeError
from tunesmith.training.settings import TrainingSettings


def learning_rate(settings: TrainingSettings, step: int, total: int) -> float:
    """Learning rate of update `step` (0-based) out of `total`: a linear rise, then the schedule's decay.

    Raises:
        RecipeError: the warmup leaves no room before `total`, or the peak was not resolved.

    >>> settings = TrainingSettings(learning_rate=1.0, warmup=2, schedule="cosine")
    >>> [round(learning_rate(settings, step, 4), 3) for step in range(4)]
    [0.5, 1.0, 1.0, 0.5]
    """
    if settings.learning_rate is None:
        raise RecipeError("training.learning_rate: a number is needed here; none was set and none was derived.")
    warmup = warmup_steps(settings.warmup, total)
    if step < warmup:
        return settings.learning_rate * (step + 1) / warmup
    progress = (step - warmup) / (total - warmup)
    if settings.schedule == "linear":
        return settings.learning_rate * (1 - progress)
    if settings.schedule == "cosine":
        # Loshchilov & Hutter, 2016, https://arxiv.org/abs/1608.03983, without restarts.
        return settings.learning_rate * (1 + math.cos(math.pi * progress)) / 2
    return settings.learning_rate


def warmup_steps(warmup: int | float | None, total: int) -> int:
    """Updates over which the rate rises: an integer counts updates, a fraction below 1 is a share of `total`.

    Raises:
        RecipeError: the number is neither, or leaves no update after the rise.
    """
    if isinstance(warmup, float) and warmup >= 1:
        raise RecipeError(f"training.warmup: {warmup} is neither whole steps (10) nor a share below 1 (0.05).")
    steps = round(warmup * total) if isinstance(warmup, float) else warmup or 0
    if steps >= total:
        raise RecipeError(
            f"training.warmup: {steps} steps of warmup leave no room in a run of {total} steps. "
            "Lower the warmup, or train for longer."
        )
    return steps
