"""torch's optimizers, fed with parameter groups, and their state as plain named tensors.

The decision: the state is a flat dict `parameter name.state name -> tensor`, so a checkpoint needs no pickle and a
resumed optimizer holds the same bits. Weight decay falls on matrices alone: a parameter with fewer than two
dimensions is a bias or a norm, in adapters as in the network.
"""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from tunesmith.errors import CheckpointError, RecipeError
from tunesmith.training.settings import AdamW, TrainingSettings

Named = Sequence[tuple[str, nn.Parameter]]


def build(named: Named, settings: TrainingSettings) -> torch.optim.Optimizer:
    """The optimizer of the recipe over `named`, in torch's fused implementation.

    Its rate is the peak until `set_rate` says otherwise.

    Raises:
        RecipeError: the learning rate or the weight decay was not resolved.
    """
    if settings.learning_rate is None or settings.weight_decay is None:
        raise RecipeError("training: learning_rate and weight_decay must be numbers before an optimizer is built.")
    groups = [
        {"params": parameters, "weight_decay": decay}
        for parameters, decay in (
            ([parameter for _, parameter in named if parameter.ndim >= 2], settings.weight_decay),
            ([parameter for _, parameter in named if parameter.ndim < 2], 0.0),
        )
        if parameters
    ]
    chosen = settings.optimizer
    if isinstance(chosen, AdamW):
        betas = (chosen.beta1, chosen.beta2)
        return torch.optim.AdamW(groups, lr=settings.learning_rate, betas=betas, eps=chosen.eps, fused=True)
    return torch.optim.SGD(groups, lr=settings.learning_rate, momentum=chosen.momentum, fused=True)


def set_rate(optimizer: torch.optim.Optimizer, rate: float) -> None:
    """Every group of `optimizer` makes its next update at `rate`."""
    for group in optimizer.param_groups:
        group["lr"] = rate


def state_tensors(optimizer: torch.optim.Optimizer, named: Named) -> dict[str, Tensor]:
    """The optimizer's own tensors (not copies) by `parameter name.state name`; a parameter not yet updated has none."""
    return {
        f"{name}.{key}": value
        for name, parameter in named
        for key, value in optimizer.state.get(parameter, {}).items()
        if value is not None
    }


def load_state_tensors(optimizer: torch.optim.Optimizer, named: Named, tensors: Mapping[str, Tensor]) -> None:
    """`optimizer` holds copies of `tensors` as its state, bit for bit, on the devices of the parameters.

    Raises:
        CheckpointError: a tensor belongs to no parameter of `named`, or its shape does not fit.
    """
    parameters = dict(named)
    state: dict[Tensor, dict[str, Tensor]] = {}
    for full_name, tensor in tensors.items():
        name, _, key = full_name.rpartition(".")
        if name not in parameters:
            raise CheckpointError(f"optimizer state {full_name!r} belongs to no parameter that this run trains.")
        parameter = parameters[name]
        if tensor.ndim and tensor.shape != parameter.shape:
            raise CheckpointError(
                f"optimizer state {full_name!r} has shape {list(tensor.shape)}, "
                f"but its parameter has {list(parameter.shape)}: the checkpoint is of another model or method."
            )
        state.setdefault(parameter, {})[key] = tensor.to(parameter.device, copy=True)
    optimizer.state.clear()
    optimizer.state.update(state)
