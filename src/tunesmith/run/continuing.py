"""What makes a continued run the same run, and which of its settings may change all the same.

The decision: what the numbers depend on (data, model, tokenizer, template, versions, processor, numerics and every
setting) is written when a run begins and compared when it goes on; a difference is refused by name, and accepted by
name. Where a file lies is none of them: its content is.
"""

import json
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from pydantic import JsonValue

from tunesmith.errors import CheckpointError, UsageError
from tunesmith.models.native.attention import made_by
from tunesmith.recipe import Loaded, load_recipe
from tunesmith.recipe.loading import leaves
from tunesmith.recipe.paths import ALWAYS, WHERE_IT_EXISTS
from tunesmith.run.folder import IDENTITY, RECIPE, differences, versions
from tunesmith.run.prepare import Prepared
from tunesmith.training.schedule import learning_rate
from tunesmith.training.settings import TrainingSettings

_SETTINGS, _ASKED = "settings", "asked"
CHANGEABLE = ("training.epochs", "training.steps", "training.micro_batch_tokens")
"""The settings that a continued run may have otherwise; the first two may only grow."""


def identity(prepared: Prepared) -> dict[str, str]:
    """What must be the same for a resumed run to give the same numbers."""
    model = {"model": prepared.source.fingerprint, "tokenizer and template": prepared.encoder.fingerprint}
    cuda = torch.cuda.is_available()
    processor = torch.cuda.get_device_name() if cuda else torch.backends.cpu.get_cpu_capability()
    attention = "torch" if cuda else made_by()
    return {**prepared.sets.sha256, **model, **versions(), "processor": processor, "attention": attention}


def record(prepared: Prepared, asked: Mapping[str, str]) -> dict[str, JsonValue]:
    """What is written when a run begins: its identity, its settings, and which of them were `asked` for."""
    return {**identity(prepared), _SETTINGS: dict(_settings(prepared.loaded)), _ASKED: dict(asked)}


def asked_for(loaded: Loaded) -> dict[str, str]:
    """The settings that somebody wrote, as text by name; paths in full."""
    written = ((n, v) for n, v in leaves(loaded.recipe) if loaded.origins[n].source in ("recipe", "command line"))
    told = ((name, value) for name, value in written if name not in ("name", "run"))
    return {name: _text(_in_full(value) if name in ALWAYS else value) for name, value in told}


def _settings(loaded: Loaded) -> Iterator[tuple[str, str]]:
    """Every setting that a number may depend on, as text by name."""
    for name, value in leaves(loaded.recipe):
        if name not in (*ALWAYS, *WHERE_IT_EXISTS, "name"):
            yield name, _text(value)


def _text(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, default=str)


def _in_full(value: Any) -> Any:
    """Paths as seen from anywhere; a share of the data, which may stand in a path's place, as it is."""
    if isinstance(value, tuple | list):
        return [_in_full(part) for part in value]
    return os.path.abspath(value) if isinstance(value, str) else value


def prove_asked_the_same(folder: Path, loaded: Loaded, accept: Iterable[str]) -> None:
    """Return only if `loaded` asks for what the run in `folder` was begun with, or what differs is accepted by name.

    Raises:
        CheckpointError: lists what is asked otherwise.
    """
    then = _begun(folder).get(_ASKED)
    if then is not None:
        _refuse(folder, differences(then, asked_for(loaded), frozenset(accept)))


def prove_same(folder: Path, prepared: Prepared, accept: Iterable[str]) -> dict[str, JsonValue]:
    """Return (the record to go on with) only if the run in `folder` still is the one that began there.

    What is accepted by name may differ.

    Raises:
        CheckpointError: lists what changed.
    """
    then = _begun(folder)
    asked, settings = then.pop(_ASKED, {}), then.pop(_SETTINGS, None)
    now = dict(_settings(prepared.loaded))
    named = frozenset(accept)
    changed_settings = differences(settings, now, named) if settings is not None else []
    _refuse(folder, [*differences(then, identity(prepared), named), *changed_settings])
    return record(prepared, asked)


def _begun(folder: Path) -> dict[str, Any]:
    try:
        found: dict[str, Any] = json.loads((folder / IDENTITY).read_bytes())
        return found
    except (OSError, ValueError) as error:
        raise CheckpointError(f"{folder / IDENTITY}: cannot be read ({error}). Restore it, or start anew.") from error


def _refuse(folder: Path, found: Sequence[str]) -> None:
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
