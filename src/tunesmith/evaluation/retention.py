"""Retention: how much of what the base model was is kept by the tuned one, on text that is not the task's.

The decision: two numbers on the same general text. KL(base ‖ tuned) tells how far the model moved at every token,
whether or not the text became less likely; the loss tells whether it became worse. The text is a file, or what the base
model itself writes: then it needs no licence, no network and no choice of language.
"""

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from tunesmith.batches.batch import Batch
from tunesmith.data.example import Origin
from tunesmith.errors import UsageError
from tunesmith.evaluation.intervals import Array, bootstrap, paired_bootstrap
from tunesmith.evaluation.metrics import Score, share
from tunesmith.generation.decode import generate
from tunesmith.generation.scoring import batches_of
from tunesmith.generation.settings import GenerationSettings
from tunesmith.models.adapters import disabled
from tunesmith.models.forward import Network
from tunesmith.tokens.encoded import EncodedExample

LENGTH = 128
"""Tokens of one sequence of general text."""
_TILE = 256  # rows of logits made at once, of two models
_OWN = Origin("what the base model writes", 0)


@dataclass(frozen=True, slots=True)
class Retention:
    """Nats per token of general text. `forgotten` is the tuned loss less the base's; `kl` is 0 for the base itself."""

    base: Score
    tuned: Score
    forgotten: Score
    kl: Score
    tokens: int

    @property
    def worse(self) -> bool:
        """Whether the tuned model became worse on general text beyond chance."""
        return self.forgotten.low > 0

    def as_dict(self) -> dict[str, Any]:
        """`{base, tuned, forgotten, kl: {value, low, high, items}, tokens}`."""
        scores = {name: getattr(self, name).as_dict() for name in ("base", "tuned", "forgotten", "kl")}
        return {**scores, "tokens": self.tokens}


def retention(tuned: Network, base: Network | None, general: Sequence[EncodedExample]) -> Retention:
    """Both models on the same general text; without `base`, the tuned one's with its adapter off.

    Intervals resample sequences, because tokens of one sequence are not independent.

    Raises:
        UsageError: there is no text.
    """
    if not general:
        raise UsageError("Retention needs general text, and there is none.")
    table = np.zeros((len(general), 4))  # per sequence: nats of the base, nats of the tuned, KL, tokens
    with torch.no_grad():
        for members, batch in batches_of(tuned, general):
            np.add.at(table, np.asarray(members)[batch.example], _of_targets(tuned, base, batch))
    before, after, kl = (table[:, [column, 3]] for column in range(3))
    low, high = paired_bootstrap(before, after, share)
    change = float(share(after.sum(0)) - share(before.sum(0)))
    forgotten = Score(change, low, high, len(general))
    return Retention(_mean(before), _mean(after), forgotten, _mean(kl), int(table[:, 3].sum()))


def own_text(model: Any, start: int, stop_ids: frozenset[int], *, tokens: int, seed: int = 0) -> list[EncodedExample]:
    """At least `tokens` tokens that the model writes freely (temperature 1) after `start`; a function of the seed."""
    found: list[EncodedExample] = []
    left, turn = tokens, 0
    while left > 0:
        settings = GenerationSettings(max_new_tokens=LENGTH, temperature=1.0, seed=seed + turn)
        prompts = [[start]] * math.ceil(left / LENGTH)
        answers = generate(model, prompts, settings=settings, stop_ids=stop_ids)
        fresh = [as_text([start, *answer.ids]) for answer in answers if answer.ids]
        if not fresh:
            raise UsageError("The base model writes nothing of its own. Give a file of general text instead.")
        found += fresh
        left -= sum(len(example) - 1 for example in fresh)
        turn += 1
    return found


def as_text(ids: Sequence[int]) -> EncodedExample:
    """A sequence of general text: every token but the first is a target."""
    weights = np.ones(len(ids), np.float32)
    weights[0] = 0
    return EncodedExample(np.array(ids, np.int32), weights, _OWN)


def _of_targets(tuned: Network, base: Network | None, batch: Batch) -> Array:
    """[R, 4]: nats under the base, nats under the tuned, KL(base ‖ tuned), 1."""
    with _base_of(tuned, base) as other:
        rows_before = _rows(other, batch)
    rows_after = _rows(tuned, batch)
    row_of, target = (tuned.on_device(a) for a in (batch.row_of, batch.target))
    found = torch.ones(len(target), 4, dtype=torch.float64)
    for start in range(0, len(batch.rows), _TILE):
        inside = ((row_of >= start) & (row_of < start + _TILE)).nonzero()[:, 0]
        with _base_of(tuned, base) as other:
            before = _log_p(other, rows_before[start : start + _TILE])
        after = _log_p(tuned, rows_after[start : start + _TILE])
        kl = (before.exp() * (before - after)).sum(-1)
        at = (row_of[inside] - start, target[inside])
        found[inside.cpu(), :3] = torch.stack([-before[at], -after[at], kl[at[0]]], dim=1).double().cpu()
    return found.numpy()


@contextmanager
def _base_of(tuned: Network, base: Network | None) -> Iterator[Network]:
    if base is not None:
        yield base
        return
    with disabled(tuned.model):
        yield tuned


def _rows(network: Network, batch: Batch) -> Tensor:
    """Hidden rows where the head is one matrix, so that logits come in tiles; else the logits themselves."""
    return network.hidden_rows(batch) if network.head is not None else network.logits(batch)


def _log_p(network: Network, rows: Tensor) -> Tensor:
    logits = network.head.logits(rows) if network.head is not None else rows
    return torch.log_softmax(logits.float(), dim=-1)


def _mean(columns: Array) -> Score:
    low, high = bootstrap(columns, share)
    return Score(float(share(columns.sum(0))), low, high, len(columns))
