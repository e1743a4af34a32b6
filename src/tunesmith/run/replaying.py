"""Replay: general text among the training examples, so that what the base model knows is still asked for.

The decision: replayed text is examples like any other, appended to the training set before anything else is decided; so
order, resume, losses and sharing need to know nothing of it. Its weights are scaled so that each counts as much as the
mean example of the task: a text of a hundred tokens must not drown an answer of two. A replayed text is never one that
retention is measured on.

Robins, 1995, "Catastrophic forgetting, rehearsal and pseudorehearsal", https://doi.org/10.1080/09540099550039318: text
that the model wrote itself is the pseudorehearsal.
"""

from collections.abc import Sequence
from dataclasses import replace
from itertools import cycle, islice
from typing import overload

import numpy as np
import torch

from tunesmith.data.example import Example, Passage
from tunesmith.data.files import find_files, fingerprint
from tunesmith.data.reading import read_examples
from tunesmith.errors import DataError
from tunesmith.evaluation.retention import LENGTH
from tunesmith.models.load import load_model
from tunesmith.models.sources import Source
from tunesmith.recipe import Recipe
from tunesmith.run import general
from tunesmith.run.examples import Sets
from tunesmith.run.opened import Say
from tunesmith.tokens.encode import Encoder
from tunesmith.tokens.encoded import EncodedExample

POOL = 128
"""Texts that are replayed in turn: enough to stand for what is general, few enough to be written on a CPU."""
FIRST_PIECE = 1000
"""Pieces of the base model's own text from here on are replayed; those before are measured on."""
_WEIGHED = 2000


class Mixed(Sequence[EncodedExample]):
    """The examples of the task, followed by replayed ones; nothing is copied."""

    def __init__(self, task: Sequence[EncodedExample], replayed: Sequence[EncodedExample]) -> None:
        self._task, self._replayed = task, replayed

    def __len__(self) -> int:
        return len(self._task) + len(self._replayed)

    @overload
    def __getitem__(self, place: int) -> EncodedExample: ...
    @overload
    def __getitem__(self, place: slice) -> list[EncodedExample]: ...
    def __getitem__(self, place: int | slice) -> EncodedExample | list[EncodedExample]:
        if isinstance(place, slice):
            return [self[i] for i in range(*place.indices(len(self)))]
        place = range(len(self))[place]
        return self._task[place] if place < len(self._task) else self._replayed[place - len(self._task)]


def with_replay(recipe: Recipe, sets: Sets, encoder: Encoder, source: Source, say: Say) -> Sets:
    """The sets with replayed examples appended to those of training, `keeping.replay` of all; else as they are.

    Raises:
        DataError: the file to replay holds nothing that can be learned.
    """
    share = recipe.keeping.replay
    if not share:
        return sets
    count = max(1, round(len(sets.train) * share / (1 - share)))
    texts = pool(recipe, encoder, source, say)
    weighed = [sets.train[i].target_weight for i in range(min(len(sets.train), _WEIGHED))]
    mean = sum(weighed) / len(weighed)
    replayed = [_counting(text, mean) for text in texts]
    say(f"replay: {count:,} of {len(sets.train) + count:,} training examples are general text ({len(texts)} texts)")
    sums = dict(sets.sha256)
    if recipe.keeping.replay_text != "auto":
        sums["keeping.replay_text"] = fingerprint(find_files(recipe.keeping.replay_text)[0])
    return replace(sets, train=Mixed(sets.train, list(islice(cycle(replayed), count))), sha256=sums, replayed=count)


def pool(recipe: Recipe, encoder: Encoder, source: Source, say: Say) -> list[EncodedExample]:
    """The first texts of `keeping.replay_text`, up to 128: a file's windows and conversations, or the base's own.

    Raises:
        DataError: the file holds nothing that can be learned.
    """
    name = recipe.keeping.replay_text
    if name == "auto":
        return _own(encoder, source, say)
    found: list[EncodedExample] = []
    for example in read_examples(name).examples:
        if isinstance(example, Passage):
            found += encoder.passages(example, LENGTH)
        elif isinstance(example, Example):
            found.append(encoder.encode(example))
        if len(found) >= POOL:
            break
    found = [text for text in found[:POOL] if text.target_weight > 0]
    if not found:
        raise DataError(f"{name}: holds nothing to replay. Name a file of plain text or conversations, or auto.")
    return found


def _own(encoder: Encoder, source: Source, say: Say) -> list[EncodedExample]:
    tokens = POOL * LENGTH // 2  # the model ends many texts before they are full
    there = general.written(source.fingerprint, start=FIRST_PIECE) >= tokens
    model = None if there else load_model(source.folder, dtype=torch.float32)
    return general.from_base(model, encoder, source.fingerprint, tokens=tokens, say=say, start=FIRST_PIECE)[:POOL]


def _counting(text: EncodedExample, weight: float) -> EncodedExample:
    """The text with its weights scaled to `weight` in all."""
    return replace(text, weights=(text.weights * (weight / text.target_weight)).astype(np.float32))
