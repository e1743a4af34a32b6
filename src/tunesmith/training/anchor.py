"""The pull of the base's weights: L2-SP, and elastic weight consolidation.

The decision: both are ½ Σ c·Δ² over the change Δ of the weights since the base, with c the same for all (L2-SP) or
their Fisher information on general text (EWC); added together they are one coefficient a weight. The change that an
adapter makes counts as what it is, a change of its matrix, so a coefficient means the same for every method, and an
adapter is not drawn towards a start that was drawn at random.

L2-SP: Li et al., 2018, "Explicit inductive bias for transfer learning with convolutional networks",
https://arxiv.org/abs/1802.01483. EWC: Kirkpatrick et al., 2017, https://arxiv.org/abs/1612.00796.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from tunesmith.models.adapters import adapted, disabled
from tunesmith.models.forward import Network
from tunesmith.models.lora import LoraLinear, as_matrix
from tunesmith.tokens.encoded import EncodedExample
from tunesmith.training.step import Pass, backward

Named = Sequence[tuple[str, nn.Parameter]]


@dataclass(frozen=True, slots=True)
class Anchor:
    """Draws a model to its base. Each held matrix has its coefficient (a number, or one for every weight).

    `whole` are parameters that train themselves, with what they were; `low_rank` are layers with an adapter.
    """

    whole: Sequence[tuple[nn.Parameter, Tensor, Tensor | float]]
    low_rank: Sequence[tuple[LoraLinear, Tensor | float]]

    @torch.no_grad()
    def pull(self) -> float:
        """Add the gradient of the penalty to every `.grad`; returns the penalty, in nats."""
        parts: list[Tensor] = []
        for parameter, start, strength in self.whole:
            change = parameter - start
            force = change * strength
            parts.append((change * force).sum())
            _add(parameter, force)
        for layer, strength in self.low_rank:
            change = layer.change()
            force = change * strength
            parts.append((change * force).sum())
            force *= layer.scaling
            _add(layer.lora_A, layer.lora_B.t() @ force)
            _add(layer.lora_B, force @ layer.lora_A.t())
        nats: list[float] = torch.stack(parts).tolist()  # the host waits for the device here alone
        return sum(nats) / 2


def anchored(model: Any, trainable: Named, *, l2: float, ewc: float, information: Mapping[str, Tensor]) -> Anchor:
    """An anchor at the weights as they are now; called before the first update, while the model is its base.

    `information` holds the Fisher information by the name of the matrix, as `fisher` gives it; it is read where `ewc`
    is not 0.
    """
    layers = adapted(model)

    def strength(name: str) -> Tensor | float:
        return l2 + ewc * information[name] if ewc else l2

    if layers:
        return Anchor((), [(layer, strength(name)) for name, layer in layers.items()])
    return Anchor([(p, p.detach().clone(), strength(name)) for name, p in trainable], ())


def fisher(network: Network, trainable: Named, examples: Sequence[EncodedExample], how: Pass) -> dict[str, Tensor]:
    """The diagonal of the Fisher information of each matrix per token of `examples`, at the base, in float32.

    Of text that the model wrote itself this is the true one; of other text the empirical one. By the name of the
    parameter, or of the layer whose matrix has an adapter. A sequence is read alone, because squares do not add up.
    """
    layers = adapted(network.model)
    held: dict[str, Any] = {name: layer.base.weight for name, layer in layers.items()} or dict(trainable)
    found = {name: torch.zeros_like(p, dtype=torch.float32) for name, p in held.items()}
    tokens = sum(example.target_weight for example in examples)
    network.model.zero_grad()
    with disabled(network.model):
        for parameter in held.values():
            parameter.requires_grad_(True)
        for example in examples:
            backward(network, [example], how, dropout_seed=None)
            for name, parameter in held.items():
                if parameter.grad is not None:
                    # The step's gradient is that of the mean over the sequence; the score is that of its sum.
                    found[name].addcmul_(parameter.grad, parameter.grad, value=example.target_weight**2 / tokens)
            network.model.zero_grad()
        for parameter in held.values():
            parameter.requires_grad_(not layers)  # a matrix below an adapter is frozen
    return {name: as_matrix(layers[name].base, total) if layers else total for name, total in found.items()}


def _add(parameter: nn.Parameter, force: Tensor) -> None:
    if parameter.grad is None:
        parameter.grad = force.to(parameter.dtype)
    else:
        parameter.grad += force
