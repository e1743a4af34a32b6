"""What frozen layers make of each example, computed once and read in every epoch.

The decision: where nothing below a layer trains, the hidden states that reach it never change, so a run of many epochs
computes them once, before its first step. That pass depends on nothing but the examples, the weights and the recipe,
so a resumed run makes the same bits again. Whether a model can be entered in its middle is tried, as everything is
(`models.probe`), and not looked up by family.

Letters: T tokens of a batch, D hidden size, U supervised rows.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from tunesmith.batches.batch import Batch
from tunesmith.batches.forest import PrefixForest
from tunesmith.batches.packing import plan
from tunesmith.models.forward import Network
from tunesmith.models.methods import decoder_layers
from tunesmith.models.probe import REFUSALS
from tunesmith.tokens.encoded import EncodedExample

TOLERANCE = 1e-5
"""Largest difference of hidden states, relative to the largest, that rounding explains in float32."""


class _Reached(Exception):
    """The first layer that trains was reached; nothing above it is wanted."""


@dataclass(frozen=True, slots=True)
class Lower:
    """A network cut below `layer`: what reaches that layer, and what the rest makes of it."""

    network: Network
    layer: int

    def states(self, batch: Batch) -> Tensor:
        """The hidden states [T, D] that reach the layer."""
        found: list[Tensor] = []

        def keep(_: Any, args: tuple[Any, ...], given: dict[str, Any]) -> None:
            found.append((args[0] if args else given["hidden_states"])[0].clone())
            raise _Reached

        handle = self._layers[self.layer].register_forward_pre_hook(keep, with_kwargs=True)
        try:
            with torch.no_grad():
                self.network.hidden_rows(batch)
        except _Reached:
            pass
        finally:
            handle.remove()
        return found[0][: len(batch.ids)]

    def hidden_rows(self, batch: Batch, states: Tensor) -> Tensor:
        """The hidden states [U, D] at the supervised rows, given what reaches the layer; differentiable."""
        with self._entered(self.network.padded(states)[None]):
            return self.network.hidden_rows(batch)

    @property
    def _layers(self) -> Any:
        return decoder_layers(self.network.model)[1]

    @contextmanager
    def _entered(self, states: Tensor) -> Iterator[None]:
        """The layers below hand on what they are given, and the layer is given `states` [1, T, D]."""

        def give(_: Any, args: tuple[Any, ...], given: dict[str, Any]) -> tuple[tuple[Any, ...], dict[str, Any]]:
            return ((states, *args[1:]), given) if args else (args, {**given, "hidden_states": states})

        layers = self._layers
        handle = layers[self.layer].register_forward_pre_hook(give, with_kwargs=True)
        before = [layer.__dict__.get("forward") for layer in layers[: self.layer]]
        for layer in layers[: self.layer]:
            layer.__dict__["forward"] = _hand_on
        try:
            yield
        finally:
            handle.remove()
            for layer, forward in zip(layers, before, strict=False):
                del layer.__dict__["forward"]
                if forward is not None:  # a compiled one
                    layer.__dict__["forward"] = forward


@dataclass(frozen=True, slots=True)
class StoredStates:
    """What reaches the first layer that trains, for every token that an example needs; equal beginnings stand once."""

    lower: Lower
    states: Tensor  # [rows, D]
    row: NDArray[np.int64]  # [tokens that all examples need] where the state of each stands
    starts: NDArray[np.int64]  # [examples + 1] where each example's tokens begin in `row`

    def hidden_rows(self, batch: Batch, members: Sequence[int]) -> Tensor:
        """The hidden states [U, D] of a batch built from the examples numbered `members`, in that order."""
        rows = np.empty(len(batch.ids), np.int64)
        rows[batch.path] = np.concatenate([self.row[self.starts[i] : self.starts[i + 1]] for i in members])
        return self.lower.hidden_rows(batch, self.states.index_select(0, self.lower.network.on_device(rows)))


def store(
    lower: Lower, examples: Sequence[EncodedExample], *, budget: int, sharing: bool, most_bytes: int
) -> StoredStates | str:
    """The stored states of `examples`, or the reason why there are none; the network is left as it was."""
    refusal = _refusal(lower, examples[0])
    if refusal is not None:
        return refusal
    parts = plan(examples, budget=budget, sharing=sharing)
    batches = [PrefixForest([examples[i] for i in part], sharing=sharing).batch() for part in parts]
    rows = sum(len(batch.ids) for batch in batches)
    first = lower.states(batches[0])
    needed = rows * first.shape[1] * first.element_size()
    if needed > most_bytes:
        return f"they would take {needed / 1e9:.1f} GB of memory, and may take {most_bytes / 1e9:.1f}"
    states = first.new_empty(rows, first.shape[1])
    starts = np.concatenate([[0], np.cumsum([len(e.needed) for e in examples])]).astype(np.int64)
    row = np.empty(starts[-1], np.int64)
    at = 0
    for part, batch in zip(parts, batches, strict=True):
        states[at : at + len(batch.ids)] = lower.states(batch)
        row[np.concatenate([np.arange(starts[i], starts[i + 1]) for i in part])] = at + batch.path
        at += len(batch.ids)
    return StoredStates(lower, states, row, starts)


def _refusal(lower: Lower, example: EncodedExample) -> str | None:
    """Why the model cannot be entered at the layer; None where it gives the same hidden states."""
    batch = PrefixForest([example]).batch()
    try:
        with torch.no_grad():
            found = lower.hidden_rows(batch, lower.states(batch))
            expected = lower.network.hidden_rows(batch)
    except REFUSALS as error:
        return f"the model cannot be entered at layer {lower.layer}: {type(error).__name__}: {str(error)[:120]}"
    difference = float((found - expected).abs().max() / expected.abs().max().clamp_min(1e-30))
    if difference <= TOLERANCE:
        return None
    return f"entered at layer {lower.layer}, the model differs by {difference:.1e}"


def _hand_on(hidden_states: Tensor, *_: Any, **__: Any) -> Tensor:
    return hidden_states
