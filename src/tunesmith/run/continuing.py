"""What makes a continued run the same run, and which of its settings may change all the same.

The decision: what the numbers depend on (data, model, tokenizer, template, versions, numerics) is written when a run
begins and compared when it goes on; a difference is refused by name, and accepted by name.
"""

import json
from collections.abc import Iterator, Sequence
from pathlib import Path

from tunesmith.errors import CheckpointError, UsageError
from tunesmith.recipe import Loaded, load_recipe
from tunesmith.run.folder import IDENTITY, RECIPE, differences, versions
from tunesmith.run.prepare import Prepared
from tunesmith.training.schedule import learning_rate
from tunesmith.training.settings import TrainingSettings

CHANGEABLE = ("training.epochs", "training.steps", "training.micro_batch_tokens")
"""The settings that a continued run may have otherwise; the first two may only grow."""


def identity(prepared: Prepared) -> dict[str, str]:
    """What must be the same for a resumed run to give the same numbers."""
    model = {"model": prepared.source.fingerprint, "tokenizer and template": prepared.encoder.fingerprint}
    return {**prepared.sets.sha256, **model, **versions()}


def prove_same(folder: Path, prepared: Prepared, accept: frozenset[str]) -> None:
    """Return only if the run in `folder` still is the one that began there, apart from what is accepted by name.

    Raises:
        CheckpointError: lists what changed.
    """
    then = json.loads((folder / IDENTITY).read_text(encoding="utf-8"))
    found = differences(then, identity(prepared), accept)
    if found:
        lines = "".join(f"\n  {line}" for line in found)
        names = " ".join(f"--accept '{line.partition(':')[0]}'" for line in found)
        raise CheckpointError(
            f"{folder}: this is no longer the run that was interrupted:{lines}\n"
            f"Put it back as it was, start a new run, or go on all the same: {names}"
        )


def changed(before: Loaded, folder: Path, changes: Sequence[str]) -> Loaded:
    """The run's recipe with the changes that keep it the same run: more epochs or steps, other micro-batches."""
    other = [change for change in changes if change.partition("=")[0] not in CHANGEABLE]
    if other:
        raise UsageError(
            f"{other[0]}: a run that is continued keeps its settings; only {', '.join(CHANGEABLE)} may change. "
            "For another setting start a new run."
        )
    if not changes:
        return before
    # Epochs count only where no steps are said, and the resolved recipe says them.
    names = {change.partition("=")[0] for change in changes}
    cleared = ["training.steps=null"] if "training.epochs" in names and "training.steps" not in names else []
    return load_recipe(str(folder / RECIPE), [*cleared, *changes])


def consequences(before: TrainingSettings, after: TrainingSettings) -> Iterator[str]:
    """What the changed settings of a continued run do to its numbers, in sentences.

    Raises:
        UsageError: the run would end before the steps that it was planned with.
    """
    old, new = before.steps or 0, after.steps or 0
    if new < old:
        raise UsageError(f"{new} steps: the run was planned with {old}; a continued run can only grow.")
    if before.micro_batch_tokens != after.micro_batch_tokens:
        yield "with other micro-batches the numbers are the same, but no longer to the last bit."
    if old == new:
        return
    last = old - 1
    was, becomes = (learning_rate(settings, last, total) for settings, total in ((before, old), (after, new)))
    yield (
        f"{new} steps instead of {old}: from here the learning rate follows the longer schedule; "
        f"at step {old} that is {becomes:.2e}, where it was {was:.2e}."
    )
