"""retention: what a run has cost its model elsewhere, measured against the base that it started from.

The decision: the general text that a base model writes for itself is made once and kept, so every run on that base is
measured on the same text and the numbers of two runs can be compared.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from tunesmith.data.example import Passage
from tunesmith.errors import DataError, UsageError
from tunesmith.evaluation.retention import LENGTH, Retention, as_text, own_text
from tunesmith.evaluation.retention import retention as measured
from tunesmith.models.adapters import adapted
from tunesmith.models.cache import home, made_once
from tunesmith.models.context import context_length
from tunesmith.models.sources import resolve
from tunesmith.recipe import load_recipe
from tunesmith.run.folder import RECIPE, is_started
from tunesmith.run.opened import Opened, Say, open_model, to_stderr
from tunesmith.tokens.encoded import EncodedExample

TOKENS = 20_000
_SEED = 0
_VERSION = 1
"""Raised whenever the same base would give another text."""


def retention(run: str, *, text: str | None = None, tokens: int = TOKENS, say: Say = to_stderr) -> Retention:
    """Loss and KL against the base on at least `tokens` tokens of general text (the file `text`, or the base's own).

    Raises:
        UsageError: `run` is no run folder, so nothing says what its base was.
        DataError: the text holds no passage.
    """
    if not is_started(Path(run)):
        raise UsageError(f"{run}: this is no run folder, so nothing says which model it started from.")
    recipe = load_recipe(str(Path(run) / RECIPE)).recipe
    source = resolve(recipe.model, revision=recipe.revision)
    tuned = open_model(run, say=say)
    with_adapter = bool(adapted(tuned.model))
    base = None if with_adapter and text is not None else open_model(str(source.folder), say=say)
    if text is not None:
        general = _from_file(tuned, text, tokens)
    else:
        assert base is not None
        general = _from_base(base, source.fingerprint, tokens, say)
    longest = max(len(example) for example in general)
    other = None if with_adapter or base is None else base.network(longest)
    return measured(tuned.network(longest), other, general)


def _from_file(opened: Opened, text: str, tokens: int) -> list[EncodedExample]:
    found: list[EncodedExample] = []
    window = min(LENGTH, context_length(opened.model.config))
    for passage in opened.read(text).examples:
        if not isinstance(passage, Passage):
            raise DataError(f"{passage.origin}: general text is plain text, not conversations. Give a text file.")
        found += opened.encoder.passages(passage, window)
        if sum(len(example) - 1 for example in found) >= tokens:
            break
    return _first(found, tokens)


def _first(examples: Sequence[EncodedExample], tokens: int) -> list[EncodedExample]:
    """As many of the first sequences as hold so many tokens."""
    ends = np.cumsum([len(example) - 1 for example in examples])
    return list(examples[: int(np.searchsorted(ends, tokens)) + 1])


def _from_base(base: Opened, fingerprint: str, tokens: int, say: Say) -> list[EncodedExample]:
    """What the base writes for itself, made once and kept."""

    def make(folder: Path) -> None:
        say(f"general text: the base model writes {tokens:,} tokens of its own, once")
        tokenizer = base.encoder.tokenizer
        start = tokenizer.bos_id if tokenizer.bos_id is not None else tokenizer.eos_id
        if start is None:
            raise UsageError("The base model has no start or end token to write from. Give a file of general text.")
        written = own_text(base.model, start, base.encoder.stop_ids, tokens=tokens, seed=_SEED)
        np.save(folder / "ids.npy", np.concatenate([example.ids for example in written]))
        np.save(folder / "lengths.npy", np.array([len(example) for example in written]))

    folder = made_once(home() / "general" / f"{fingerprint[:16]}-{tokens}-{_VERSION}", make)
    ids, lengths = (np.load(folder / f"{name}.npy", allow_pickle=False) for name in ("ids", "lengths"))
    parts = np.split(ids, np.cumsum(lengths)[:-1])
    return [as_text(part.tolist()) for part in parts]
