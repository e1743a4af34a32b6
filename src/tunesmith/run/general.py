"""General text: what retention is measured on, from a file or in the base model's own words.

The decision: what a base model writes for itself is made in pieces, each once, and kept. So every run on that base is
measured on a beginning of the same text, a short run needs no more of it than it can afford, and numbers compare.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from tunesmith.data.example import Passage
from tunesmith.data.reading import read_examples
from tunesmith.errors import DataError, UsageError
from tunesmith.evaluation.retention import LENGTH, as_text, own_text
from tunesmith.models.cache import home, made_once
from tunesmith.run.opened import Say
from tunesmith.tokens.encode import Encoder
from tunesmith.tokens.encoded import EncodedExample

PIECE = 1024
"""Tokens that the base model writes at a time, at least."""
_SEED = 0
_VERSION = 2
"""Raised whenever the same base would give another text."""


def from_file(text: str, encoder: Encoder, *, tokens: int, context: int) -> list[EncodedExample]:
    """The first windows of a file of plain text, at least `tokens` tokens of it where it has so many.

    Raises:
        DataError: the file holds something else than plain text, or nothing.
    """
    found: list[EncodedExample] = []
    for passage in read_examples(text).examples:
        if not isinstance(passage, Passage):
            raise DataError(f"{passage.origin}: general text is plain text, not conversations. Give a text file.")
        found += encoder.passages(passage, min(LENGTH, context))
        if sum(len(example) - 1 for example in found) >= tokens:
            break
    return first(found, tokens)


def first(examples: Sequence[EncodedExample], tokens: int) -> list[EncodedExample]:
    """As many of the first sequences as hold so many tokens."""
    ends = np.cumsum([len(example) - 1 for example in examples])
    return list(examples[: int(np.searchsorted(ends, tokens)) + 1])


def written(fingerprint: str, *, start: int = 0) -> int:
    """How many tokens of the base model's own text are kept already, at least, from piece `start` on."""
    number = start
    while _place(fingerprint, number).is_dir():
        number += 1
    return (number - start) * PIECE


def from_base(
    model: Any, encoder: Encoder, fingerprint: str, *, tokens: int, say: Say, start: int = 0
) -> list[EncodedExample]:
    """What the base model writes for itself, at least `tokens` tokens; what is missing of it is made and kept.

    Pieces from another `start` are another text. `model` may be None where all of it has been written.

    Raises:
        UsageError: the model has neither a start nor an end token to write from.
    """
    if written(fingerprint, start=start) < tokens:
        missing = tokens - written(fingerprint, start=start)
        say(f"general text: the base model writes {missing:,} tokens of its own, once for all runs on it")
    found: list[EncodedExample] = []
    number = start
    while sum(len(example) - 1 for example in found) < tokens:
        found += _piece(model, encoder, _place(fingerprint, number), number)
        number += 1
    return first(found, tokens)


def _place(fingerprint: str, number: int) -> Path:
    return home() / "general" / f"{fingerprint[:16]}-{_VERSION}" / f"{number:04d}"


def _piece(model: Any, encoder: Encoder, place: Path, number: int) -> list[EncodedExample]:
    def make(folder: Path) -> None:
        tokenizer = encoder.tokenizer
        start = tokenizer.bos_id if tokenizer.bos_id is not None else tokenizer.eos_id
        if start is None:
            raise UsageError("The base model has no start or end token to write from. Set retention.text to a file.")
        text = own_text(model, start, encoder.stop_ids, tokens=PIECE, seed=_SEED + 1000 * number)
        np.save(folder / "ids.npy", np.concatenate([example.ids for example in text]))
        np.save(folder / "lengths.npy", np.array([len(example) for example in text]))

    folder = made_once(place, make)
    ids, lengths = (np.load(folder / f"{name}.npy", allow_pickle=False) for name in ("ids", "lengths"))
    return [as_text(part.tolist()) for part in np.split(ids, np.cumsum(lengths)[:-1])]
