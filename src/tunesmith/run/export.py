"""The verb `export`: a run's model as a folder that other tools load.

The decision: an export is believed only after it was loaded again and gave the logits and the greedy answer of the
original; the difference is said. What fails this is not left behind.
"""

import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from tunesmith.errors import ModelError, UsageError
from tunesmith.models import adapters
from tunesmith.models.cache import write_whole
from tunesmith.models.context import stored_dtype
from tunesmith.models.folder import is_adapter, verify
from tunesmith.models.load import base_of, load_model
from tunesmith.models.save import copy_beside, write_model
from tunesmith.run.folder import is_started, require_whole, weights_of
from tunesmith.run.selftest import greedy

PROMPT_TOKENS = 16
TOLERANCE = {torch.float32: 5e-4, torch.float64: 1e-10}
ROUGH = 5e-2
"""Largest difference of logits, relative to the largest, that rounding explains; `ROUGH` in half precisions."""


def export(run_or_model: Path, to: Path, *, merge: bool = False, say: Callable[[str], object] | None = None) -> Path:
    """Write the best (else the last) weights of a run, or a model folder, to the new folder `to`, and return it.

    An adapter stays an adapter, unless `merge` folds it into its base, which gives a plain model in the base's dtype.

    Raises:
        UsageError: `to` holds something, or there is nothing to export.
        ModelError: what was written does not give the same logits; it is removed again.
    """
    talk = say or _to_stderr
    if to.exists() and (not to.is_dir() or any(to.iterdir())):
        raise UsageError(f"{to}: this is there already and is not overwritten. Name a new folder.")
    folder = _weights(run_or_model, talk)
    verify(folder)
    base = base_of(folder).folder if is_adapter(folder) else folder
    dtype = stored_dtype(base)
    model = load_model(folder, dtype=dtype)
    before, answer = _logits(model), _answer(model)

    def make(partial: Path) -> None:
        if is_adapter(folder) and not merge:
            _copy_adapter(folder, partial)
        else:
            if is_adapter(folder) and adapters.trained_in_four_bits(folder):
                talk(
                    "the adapter was trained on matrices in four bits (NF4); it is merged into the dequantised ones, "
                    "which are what it knows, not into the original ones"
                )
            _write_plain(model, partial, (base, folder))
        again = load_model(partial, dtype=dtype)
        found, same = _difference(_logits(again), before), _answer(again) == answer
        told = "the same" if same else "another"
        talk(
            f"loaded again: logits differ by {found:.1e} (relative to the largest, {PROMPT_TOKENS} tokens), "
            f"greedy answer {told}"
        )
        # The rounding of merged matrices may turn a choice between two words that are equally likely.
        if not (found <= TOLERANCE.get(dtype, ROUGH) and (same or merge)):
            raise ModelError(f"{to}: what was written does not answer as {folder} does, so it was removed again.")

    try:
        to.parent.mkdir(parents=True, exist_ok=True)
        write_whole(to, make)
    except OSError as error:
        raise ModelError(f"{to}: cannot be written ({error}). Free some space, or name another folder.") from error
    return to


def _weights(run_or_model: Path, talk: Callable[[str], object]) -> Path:
    if not is_started(run_or_model):
        if not run_or_model.is_dir():
            raise UsageError(f"{run_or_model}: there is no such run or model folder.")
        require_whole(run_or_model)
        return run_or_model
    folder, meaning = weights_of(run_or_model)
    talk(f"exporting {meaning}")
    return folder


def _write_plain(model: Any, partial: Path, beside: tuple[Path, Path]) -> None:
    base, folder = beside
    adapters.merge(model)
    write_model(model, partial, source_folder=base)
    copy_beside(folder, partial)  # an adapter's own tokenizer and template win over its base's


def _copy_adapter(folder: Path, partial: Path) -> None:
    for name in (adapters.CONFIG, adapters.WEIGHTS, adapters.BASE):
        if (folder / name).is_file():
            shutil.copyfile(folder / name, partial / name)
    copy_beside(folder, partial)


def _prompt(model: Any) -> torch.Tensor:
    """A fixed prompt [1, T] from the middle of the vocabulary."""
    vocabulary = model.config.get_text_config().vocab_size
    return torch.randint(
        vocabulary // 4, vocabulary // 2, (1, PROMPT_TOKENS), generator=torch.Generator().manual_seed(0)
    )


def _logits(model: Any) -> torch.Tensor:
    """Logits [1, T, V] in float32 of the fixed prompt."""
    with torch.inference_mode():
        logits: torch.Tensor = model(input_ids=_prompt(model), use_cache=False).logits.float()
    return logits


def _answer(model: Any) -> tuple[int, ...]:
    """What the model goes on with behind the fixed prompt, the likeliest token each time."""
    return greedy(model, _prompt(model).tolist(), frozenset())[0]


def _difference(found: torch.Tensor, expected: torch.Tensor) -> float:
    if found.shape != expected.shape:
        return float("inf")
    return float((found - expected).abs().max() / expected.abs().max())


def _to_stderr(text: str) -> None:
    print(text, file=sys.stderr, flush=True)
