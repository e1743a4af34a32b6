"""How likely given answers are: the log-probability of each option after a prompt.

The decision: an option is two runs of tokens put together, prompt and option, read as any example is. So all options of
a question, and all questions under one instruction, stand on one copy of what they share (design, section 3), and a
model that cannot be read so is read one option at a time, with the same numbers.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from tunesmith.batches.batch import Batch
from tunesmith.batches.packing import micro_batches, plan
from tunesmith.data.example import Origin
from tunesmith.errors import UsageError
from tunesmith.models.forward import Network
from tunesmith.tokens.encoded import EncodedExample

TOKENS_AT_ONCE = 4096
"""Without gradients little is kept, and the longer a batch, the more questions stand on one copy of what they share."""
_TILE = 256  # rows of logits made at once
_HERE = Origin("options", 0)


@dataclass(frozen=True, slots=True)
class Choice:
    """A question with its options, all as token ids; an option that shall be a whole answer ends with the end token."""

    prompt: Sequence[int]
    options: Sequence[Sequence[int]]


@dataclass(frozen=True, slots=True)
class Scored:
    """The log-probability of an option (nats), and whether each of its tokens is the likeliest one at its place."""

    nats: float
    greedy: bool


def log_probabilities(network: Network, choices: Sequence[Choice]) -> list[list[float]]:
    """For each choice the log-probability (nats, summed over its tokens) of each option, in the order given.

    Raises:
        UsageError: a prompt or an option is empty.
    """
    return [[option.nats for option in options] for options in scored(network, choices)]


def scored(network: Network, choices: Sequence[Choice]) -> list[list[Scored]]:
    """The same, and whether the model would have written the option.

    Raises:
        UsageError: as `log_probabilities`.
    """
    examples = [_example(choice.prompt, option) for choice in choices for option in choice.options]
    found = np.zeros((len(examples), 2))
    with torch.no_grad():
        for members, batch in batches_of(network, examples):
            np.add.at(found, np.asarray(members)[batch.example], _of_targets(network, batch))
    flat = (Scored(nats, not others) for nats, others in found.tolist())
    return [[next(flat) for _ in choice.options] for choice in choices]


def _example(prompt: Sequence[int], option: Sequence[int]) -> EncodedExample:
    if not prompt or not option:
        raise UsageError("A prompt and each of its options need at least one token.")
    weights = np.zeros(len(prompt) + len(option), np.float32)
    weights[len(prompt) :] = 1
    return EncodedExample(np.array([*prompt, *option], np.int32), weights, _HERE)


def batches_of(network: Network, examples: Sequence[EncodedExample]) -> Iterator[tuple[list[int], Batch]]:
    """Micro-batches with the indices of their examples; one example each where the network runs them alone."""
    parts = plan(examples, budget=TOKENS_AT_ONCE) if network.forest else [[i] for i in range(len(examples))]
    for members in parts:
        # A part of a plan fits the budget, so it stays one micro-batch.
        (batch,) = micro_batches([examples[i] for i in members], budget=2**62)
        yield members, batch


def _of_targets(network: Network, batch: Batch) -> NDArray[np.float64]:
    """The log-probability of every target of a batch, and 1 where another token is likelier [R, 2]."""
    rows = network.hidden_rows(batch) if network.head is not None else network.logits(batch)
    row_of, target = network.on_device(batch.row_of), network.on_device(batch.target)
    found = torch.empty(len(target), 2, dtype=torch.float64, device=rows.device)
    for start in range(0, len(batch.rows), _TILE):
        part = rows[start : start + _TILE]
        logits = network.head.logits(part) if network.head is not None else part
        inside = ((row_of >= start) & (row_of < start + _TILE)).nonzero()[:, 0]
        log_p = torch.log_softmax(logits.float(), dim=-1)
        row, token = row_of[inside] - start, target[inside]
        found[inside, 0] = log_p[row, token].double()
        found[inside, 1] = (log_p.argmax(-1)[row] != token).double()
    return found.cpu().numpy()
