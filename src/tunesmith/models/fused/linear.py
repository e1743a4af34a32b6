"""A linear layer inside a fused computation: its product, and its gradients put where they belong.

The decision: a gradient of a matrix is added to its `.grad` by the matrix product itself, as that of the output matrix
is (`training.objective`); autograd would make it apart and add it afterwards, a pass over memory for each micro-batch.

Letters: T tokens, I inputs, O outputs, r rank.
"""

from typing import Any

from torch import Tensor, nn

from tunesmith.models.lora import LoraLinear
from tunesmith.models.products import back, onward


def supported(module: Any) -> bool:
    """Whether the functions below compute exactly what `module` computes: a plain layer, or one with an adapter."""
    if isinstance(module, LoraLinear):
        return module.dropout is None and type(module.base) is nn.Linear
    return type(module) is nn.Linear


def trains(module: nn.Module) -> bool:
    """Whether any parameter of it wants a gradient."""
    return any(p.requires_grad for p in module.parameters())


def product(module: Any, x: Tensor) -> tuple[Tensor, Tensor | None]:
    """What the layer makes of x [T, I], as [T, O], and what its adapter does, [T, r]; autograd is not told."""
    base: Any = module.base if isinstance(module, LoraLinear) else module
    out = onward(x, base.weight, base.bias)
    if not isinstance(module, LoraLinear) or not module.enabled:
        return out, None
    low = onward(x, module.lora_A)
    return out.addmm_(low, module.lora_B.t(), alpha=module.scaling), low


def gradients(
    module: Any, x: Tensor, low: Tensor | None, grad: Tensor, onto: Tensor | None, *, wanted: bool
) -> Tensor | None:
    """Add the layer's gradients to its parameters; where `wanted`, also the gradient of x [T, I], added to `onto`.

    `low` is what `product` gave beside its output.
    """
    base: Any = module.base if isinstance(module, LoraLinear) else module
    if base.weight.requires_grad:
        add_product(base.weight, grad.t(), x)
    if base.bias is not None and base.bias.requires_grad:
        add(base.bias, grad.sum(0))
    if wanted:
        of_x = back(grad, base.weight)
        onto = of_x if onto is None else onto.add_(of_x)
    if low is not None:
        through = back(grad, module.lora_B).mul_(module.scaling)
        if module.lora_A.requires_grad:
            add(module.lora_A, onward(through.t(), x.t()))
            # Few rows on the left are fast; the optimizer wants the parameter's own layout.
            add(module.lora_B, onward(low.t(), grad.t()).t().mul(module.scaling).contiguous())
        if onto is not None and wanted:
            onto.addmm_(through, module.lora_A)
    return onto


def add_product(parameter: nn.Parameter, left: Tensor, right: Tensor) -> None:
    """Add `left @ right` to the gradient."""
    if parameter.grad is None:
        parameter.grad = left @ right
    else:
        parameter.grad.addmm_(left, right)


def add(parameter: nn.Parameter, gradient: Tensor) -> None:
    """Add to the gradient; `gradient` is the caller's own, contiguous, and may be kept."""
    parameter.grad = gradient if parameter.grad is None else parameter.grad.add_(gradient)
