"""torch's optimizers, fed with parameter groups, and their state as plain named tensors.

The decision: the state is a flat dict `parameter name.state name -> tensor`, so a checkpoint needs no pickle and a
resumed optimizer holds the same bits. Weight decay falls on matrices alone: a parameter with fewer than two
dimensions is a bias or a norm, in adapters as in the network. Parameters in bfloat16 have a float32 master that is
updated in their place: bfloat16 keeps 8 bits, so an update of less than about 1/500 of a weight would be lost in it,
and fine-tuning makes hardly any that is larger.
"""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn
from torch.optim.adamw import adamw

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
    rough = any(parameter.dtype != torch.float32 for _, parameter in named)
    if isinstance(chosen, AdamW):
        betas = (chosen.beta1, chosen.beta2)
        if rough:
            return MasterAdamW(groups, {"lr": settings.learning_rate, "betas": betas, "eps": chosen.eps})
        made = torch.optim.AdamW(groups, lr=settings.learning_rate, betas=betas, eps=chosen.eps, fused=True)
        # Made now, they stand apart from what steps ask for and free; among that they would leave gaps that fit none.
        for _, parameter in named:
            made.state[parameter] = {
                "step": torch.zeros((), device=parameter.device),
                "exp_avg": torch.zeros_like(parameter),
                "exp_avg_sq": torch.zeros_like(parameter),
            }
        return made
    if rough:
        raise RecipeError(
            "training.optimizer: sgd would lose its updates in weights of bfloat16. Use adamw, which keeps float32 "
            "masters of them, or training.dtype: float32."
        )
    return torch.optim.SGD(groups, lr=settings.learning_rate, momentum=chosen.momentum, fused=True)


class MasterAdamW(torch.optim.Optimizer):
    """AdamW on a float32 master of each parameter; the parameter is its master, rounded.

    One parameter after the other, so that no more than one gradient stands in float32 at once; the gradients are given
    back on the way. The master is part of the state, so a resumed run goes on from the same bits.
    """

    @torch.no_grad()
    def step(self) -> None:  # type: ignore[override]  # no closure is ever given
        """Update every master that has a gradient, and round it into its parameter."""
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.grad is None:
                    continue
                held = self.state[parameter]
                if not held:
                    held["master"] = parameter.detach().float()
                    held["step"] = torch.zeros((), device=parameter.device)
                    held["exp_avg"], held["exp_avg_sq"] = (torch.zeros_like(held["master"]) for _ in range(2))
                adamw(
                    [held["master"]], [parameter.grad.float()], [held["exp_avg"]], [held["exp_avg_sq"]], [],
                    [held["step"]], fused=True, amsgrad=False, beta1=group["betas"][0], beta2=group["betas"][1],
                    lr=group["lr"], weight_decay=group["weight_decay"], eps=group["eps"], maximize=False,
                )  # fmt: skip
                parameter.copy_(held["master"])
                parameter.grad = None


def set_rate(optimizer: torch.optim.Optimizer, rate: float) -> None:
    """Every group of `optimizer` makes its next update at `rate`."""
    for group in optimizer.param_groups:
        group["lr"] = rate


def state_tensors(optimizer: torch.optim.Optimizer, named: Named) -> dict[str, Tensor]:
    """The optimizer's own tensors (not copies) by `parameter name.state name`; one without state has none."""
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
