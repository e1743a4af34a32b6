"""One step: the examples of one optimizer update → loss and gradient, exactly those of one example at a time.

The decision: the loss of a step is the sum over its weighted targets, divided once by the weight of the whole step.
That weight is known before the first forward, so micro-batches need no averaging afterwards and their number, which
follows the memory, changes nothing beyond rounding.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from tunesmith.batches.batch import Batch
from tunesmith.batches.packing import micro_batches, plan
from tunesmith.models.forward import Network
from tunesmith.tokens.encoded import EncodedExample
from tunesmith.training.divergence import Toward, divergence, from_logits, of_rows
from tunesmith.training.objective import Losses, cross_entropy, logit_losses
from tunesmith.training.settings import TokenWeighting
from tunesmith.training.targets import Targets


@dataclass(frozen=True, slots=True)
class Measured:
    """What a pass over examples gave: the weighted mean loss, sums for the journal, and the loss of each example.

    `example_loss` and `example_accuracy` [n] are weighted means of each example's own targets, in the order given. `kl`
    is the weighted mean of KL(base ‖ tuned) at their rows, where the pass is drawn towards a base.
    """

    loss: float
    accuracy: float
    weight: float
    tokens: int
    computed_tokens: int
    supervised_tokens: int
    example_loss: tuple[float, ...]
    example_accuracy: tuple[float, ...]
    kl: float = 0.0


@dataclass(frozen=True, slots=True)
class Pass:
    """How examples become micro-batches, and how their targets count."""

    budget: int
    sharing: bool
    smoothing: float = 0.0
    weighting: TokenWeighting = "none"
    toward: Toward | None = None
    hidden: Callable[[Batch, Sequence[int]], Tensor] | None = None
    """Where the hidden rows [U, D] of a batch built from `examples[i] for i in members` come from; else the network."""


def backward(network: Network, examples: Sequence[EncodedExample], how: Pass, *, dropout_seed: int | None) -> Measured:
    """Add the gradient of the step's loss to every `.grad`; the numbers are those of the forward.

    With `dropout_seed` each micro-batch starts its random numbers from that seed and its own place.
    """
    return _run(network, examples, how, train=True, dropout_seed=dropout_seed)


def measure(network: Network, examples: Sequence[EncodedExample], how: Pass) -> Measured:
    """The same numbers without a gradient. They do not depend on the budget or on sharing, beyond rounding."""
    with torch.inference_mode():
        return _run(network, examples, how, train=False, dropout_seed=None)


def _run(
    network: Network, examples: Sequence[EncodedExample], how: Pass, *, train: bool, dropout_seed: int | None
) -> Measured:
    weight = sum(e.target_weight for e in examples)
    example_loss, example_right = np.zeros(len(examples)), np.zeros(len(examples))
    computed = supervised = 0
    parts: list[tuple[list[int], Batch]] = []
    there: list[Tensor] = []
    kl: Tensor | float = 0.0  # stays on the host where nothing draws towards a base: reading it there would wait again
    for place, (members, batch) in enumerate(_batches(network, examples, how)):
        if dropout_seed is not None:
            torch.manual_seed(dropout_seed + place)
        losses, nats = _losses(network, batch, members, how, scale=1.0 / weight if train else None)
        kl = kl + nats
        parts.append((members, batch))
        there.append(torch.stack([losses.loss, losses.right.to(losses.loss.dtype)]))
        computed += len(batch.ids)
        supervised += len(batch.target)
    right = 0.0
    for (members, batch), (loss, was_right) in zip(parts, _on_host(there), strict=True):
        owner = np.asarray(members)[batch.example]
        np.add.at(example_loss, owner, loss.astype(np.float64) * batch.weight)
        np.add.at(example_right, owner, was_right.astype(np.float64) * batch.weight)
        right += float((was_right * batch.weight).sum(dtype=np.float64))
    return Measured(
        loss=float(example_loss.sum()) / weight,
        accuracy=right / weight,
        weight=weight,
        tokens=sum(len(e) for e in examples),
        computed_tokens=computed,
        supervised_tokens=supervised,
        example_loss=tuple(float(v) / e.target_weight for v, e in zip(example_loss, examples, strict=True)),
        example_accuracy=tuple(float(v) / e.target_weight for v, e in zip(example_right, examples, strict=True)),
        kl=float(kl) / weight,
    )


def _on_host(there: Sequence[Tensor]) -> Sequence[NDArray[np.float32]]:
    """Arrays of the host with what stands in the tensors [2, R]: the one place of a step where the host waits."""
    ends = np.cumsum([found.shape[1] for found in there])
    return np.split(torch.cat(list(there), dim=1).cpu().numpy(), ends[:-1], axis=1)


def _batches(network: Network, examples: Sequence[EncodedExample], how: Pass) -> Iterator[tuple[list[int], Batch]]:
    """Micro-batches, each with the indices of its examples; one example each where the network runs them alone."""
    if not network.forest:
        for i, example in enumerate(examples):
            yield [i], micro_batches([example], budget=how.budget, sharing=False)[0]
        return
    for members in plan(examples, budget=how.budget, sharing=how.sharing):
        # A part of a plan fits the budget, so it stays one micro-batch.
        (batch,) = micro_batches([examples[i] for i in members], budget=2**62, sharing=how.sharing)
        yield members, batch


def _losses(
    network: Network, batch: Batch, members: list[int], how: Pass, *, scale: float | None
) -> tuple[Losses, Tensor | float]:
    """The losses of one micro-batch, and its KL from the base; with `scale` the gradient reaches every `.grad`."""
    targets = Targets(*(network.on_device(a) for a in (batch.row_of, batch.target, batch.weight)))
    toward = how.toward if scale is not None else None
    base = toward.rows(network, batch) if toward is not None else None
    if network.head is None:
        return _of_logits(network.logits(batch), targets, how, base, scale)
    hidden = network.hidden_rows(batch) if how.hidden is None else how.hidden(batch, members)
    losses = cross_entropy(
        hidden.detach(), network.head, targets, smoothing=how.smoothing, scale=scale, weighting=how.weighting,
        compiled=network.compiled,
    )  # fmt: skip
    kl: Tensor | float = 0.0
    gradient = losses.gradient
    if toward is not None and base is not None and scale is not None:
        weight, base_head = of_rows(targets, len(hidden)), toward.head(network)
        assert base_head is not None, "the base is of the same family"
        kl, pull = divergence(hidden.detach(), network.head, base, base_head, weight, scale=scale * toward.weight)
        gradient = pull if gradient is None else gradient.add_(pull)
    if scale is not None and hidden.requires_grad:
        hidden.backward(gradient)  # type: ignore[no-untyped-call]
    return losses, kl


def _of_logits(
    logits: Tensor, targets: Targets, how: Pass, base: Tensor | None, scale: float | None
) -> tuple[Losses, Tensor | float]:
    """The same where only the model itself makes its logits."""
    leaf = logits.detach().requires_grad_(scale is not None)
    losses = logit_losses(leaf, targets, smoothing=how.smoothing, scale=scale, weighting=how.weighting)
    kl: Tensor | float = 0.0
    if scale is not None and leaf.grad is not None:
        if base is not None and how.toward is not None:
            weight = of_rows(targets, len(leaf))
            nats, pull = from_logits(leaf.detach(), base)
            kl = (nats * weight).sum(dtype=torch.float64)
            leaf.grad += pull * (weight * scale * how.toward.weight)[:, None]
        logits.backward(leaf.grad)  # type: ignore[no-untyped-call]
    return losses, kl


def gradient_norm(parameters: Sequence[Tensor], *, clip: float | None) -> float:
    """The norm of the whole gradient; where it exceeds `clip`, the gradient is scaled down to it."""
    grads = [p.grad for p in parameters if p.grad is not None]
    norm = torch.nn.utils.get_total_norm(grads)
    if clip is not None:
        torch.nn.utils.clip_grads_with_norm_(list(parameters), clip, norm)
    return float(norm)
