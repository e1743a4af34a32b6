"""A job's request becomes the settings of an ordinary run.

The decision: a job is `tunesmith train DATA name=value…` and nothing else; so whatever a job did can be done again in
a terminal. Of a recipe that a client sends, only what cannot name a path of the server is taken.
"""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from tunesmith.errors import RecipeError, RequestError
from tunesmith.recipe import load_recipe
from tunesmith.training.settings import USUAL_RATE

TARGET_EPOCHS, FEWEST_SEEN, MOST_SEEN, MOST_EPOCHS = 3, 100, 25_000, 25
KEPT_CHECKPOINTS = 3
_OPEN = (
    "method", "training", "checkpoints.every", "supervision.train_on", "supervision.rewritten_turns",
    "supervision.max_length", "data.format", "data.fields", "data.system", "data.minimum", "data.on_",
)  # fmt: skip
_CLOSED = ("training.threads",)


def auto_epochs(examples: int) -> int:
    """How often `examples` are seen when the client leaves it open.

    Three times, but so that at least 100 and at most 25,000 examples are seen in all (the rule that OpenAI published
    with its data preparation notebook, "Data preparation and analysis for chat model fine-tuning").

    >>> [auto_epochs(n) for n in (10, 33, 100, 10_000, 50_000)]
    [10, 3, 3, 2, 1]
    """
    if examples * TARGET_EPOCHS < FEWEST_SEEN:
        return min(MOST_EPOCHS, FEWEST_SEEN // max(examples, 1))
    if examples * TARGET_EPOCHS > MOST_SEEN:
        return max(1, MOST_SEEN // examples)
    return TARGET_EPOCHS


def settings(hyperparameters: Mapping[str, Any], recipe: Mapping[str, Any], seed: int) -> list[str]:
    """The `name=value` of a run, the client's own recipe last.

    Raises:
        RequestError: the recipe names a setting that is unknown, not offered, or has a wrong value.
    """
    own = dict(_leaves(recipe))
    for name in own:
        if not name.startswith(_OPEN) or name.startswith(_CLOSED):
            raise RequestError(f"tunesmith.{name}: this setting is not offered over HTTP.", param=f"tunesmith.{name}")
    kind = own.get("method.kind", "lora")
    chosen: dict[str, Any] = {"seed": seed, "checkpoints.keep": KEPT_CHECKPOINTS}
    for ours, theirs in (("epochs", "n_epochs"), ("batch_size", "batch_size")):
        if hyperparameters[theirs] != "auto":
            chosen[f"training.{ours}"] = hyperparameters[theirs]
    factor = hyperparameters["learning_rate_multiplier"]
    if factor != "auto" and kind in USUAL_RATE:
        chosen["training.learning_rate"] = USUAL_RATE[kind] * factor
    found = [f"{name}={json.dumps(value, ensure_ascii=False)}" for name, value in {**chosen, **own}.items()]
    try:
        load_recipe("data.jsonl", found)
    except RecipeError as error:
        raise RequestError(f"tunesmith: {error}", param="tunesmith", code="invalid_recipe") from error
    return found


def places(train: Path, validation: Path | None, model: str, run: Path) -> list[str]:
    """The words that say which data, model and folder a run has."""
    second = str(validation) if validation is not None else 0
    values = {"data.validation": second, "data.test": 0, "model": model, "run": str(run)}
    return [str(train), *(f"{name}={json.dumps(value)}" for name, value in values.items())]


def _leaves(tree: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in tree.items():
        if isinstance(value, Mapping) and f"{prefix}{name}" != "data.fields":
            yield from _leaves(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value
