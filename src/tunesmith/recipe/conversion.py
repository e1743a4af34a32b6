"""What a value of another tool becomes: one conversion for each setting, exact or refused with the reason."""

from collections.abc import Callable
from typing import Any

from tunesmith.recipe.draft import Untranslatable

_SCHEDULES = {"constant": "constant", "constant_with_warmup": "constant", "linear": "linear", "cosine": "cosine"}
_ALL = ("all", "all-linear", ["all"], ["all-linear"])


def whole(value: Any) -> int:
    """A whole number; 3.0 is one."""
    if float(value) != int(float(value)):
        raise Untranslatable(f"{value} is not a whole number; use training.steps for a part of an epoch")
    return int(float(value))


def number(value: Any) -> float:
    """A number, also where it was quoted or read as text (YAML 1.1 reads 2e-4 so)."""
    return float(value)


def _schedule(value: Any) -> str:
    if value not in _SCHEDULES:
        raise Untranslatable(f"there is no schedule {value}; constant, linear and cosine exist")
    return _SCHEDULES[value]


def _optimizer(value: Any) -> str:
    name = str(value)
    if name.startswith(("adamw", "paged_adamw")):
        return "adamw"
    if name == "sgd":
        return "sgd"
    raise Untranslatable(f"there is no optimizer {name}; adamw and sgd exist")


def _targets(value: Any) -> Any:
    if value in _ALL:
        return "all-linear"
    if isinstance(value, str):
        return [part.strip() for part in value.split(",")]
    return [str(part) for part in value]


def _precision(value: Any) -> str:
    name = str(value).removeprefix("torch.")
    if name not in ("auto", "float32", "bfloat16"):
        raise Untranslatable(f"there is no precision {name}; auto, float32 and bfloat16 exist")
    return name


def _metric(value: Any) -> str:
    return "validation_loss" if value in ("loss", "eval_loss") else str(value)


def _clip(value: Any) -> float | None:
    # The other tools write "no clipping" as 0.
    return float(value) or None


CONVERSIONS: dict[str, Callable[[Any], Any]] = {
    "model": str,
    "revision": str,
    "name": str,
    "seed": whole,
    "data.validation": number,
    "data.system": str,
    "supervision.max_length": whole,
    "method.rank": whole,
    "method.alpha": number,
    "method.dropout": number,
    "method.targets": _targets,
    "method.rslora": bool,
    "training.learning_rate": number,
    "training.epochs": whole,
    "training.optimizer.kind": _optimizer,
    "training.optimizer.beta1": number,
    "training.optimizer.beta2": number,
    "training.optimizer.eps": number,
    "training.weight_decay": number,
    "training.schedule": _schedule,
    "training.clip": _clip,
    "training.label_smoothing": number,
    "training.dtype": _precision,
    "training.validation.metric": _metric,
    "training.validation.patience": whole,
    "checkpoints.keep": whole,
}
