"""Which modules of a loaded model run as one fused computation, decided by trying each of them.

The decision: a module is replaced where it looks like something that we compute with fewer passes over memory *and* its
output and the gradient of its input agree with its own on what the model really feeds it. Names only propose; the trial
decides, module by module. What is replaced is the module's `forward`, so that its parameters, their names and what is
saved stay as they are; everything else keeps running as transformers wrote it.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from tunesmith.models.fused.attention import FusedAttention
from tunesmith.models.fused.embedding import FusedEmbedding
from tunesmith.models.fused.mlp import FusedMlp
from tunesmith.models.fused.norm import FusedNorm

TOLERANCE = 1e-5
"""Largest difference of outputs and gradients, relative to their largest value, that rounding explains in float32."""
_KINDS: tuple[Any, ...] = (FusedEmbedding, FusedNorm, FusedMlp, FusedAttention)
# A candidate that cannot even be called so is no candidate.
_REFUSALS = (TypeError, ValueError, KeyError, AttributeError, RuntimeError, IndexError)

Call = tuple[tuple[Any, ...], dict[str, Any]]


def fuse(model: nn.Module, run: Callable[[], object]) -> int:
    """Replace the forward of every module for which a fused one is proven; returns how many there are.

    `run` calls the model once by forest, on a few examples. Only float32 on a CPU is fused.
    """
    unfuse(model)
    first = next(model.parameters())
    if first.dtype != torch.float32 or first.device.type != "cpu":
        return 0
    fused = 0
    with _frozen(model):
        seen = _inputs(model, run)
        for kind in _KINDS:  # norms before attention, which may hold some
            for module, call in seen.items():
                found = next((c for c in kind.candidates(module, module.forward) if _agrees(c, call)), None)
                if found is not None:
                    module.__dict__["forward"] = found
                    fused += 1
    return fused


def unfuse(model: nn.Module) -> dict[nn.Module, Any]:
    """Give every module its own forward back; returns what each of them ran instead."""
    fused = [module for module in model.modules() if isinstance(module.__dict__.get("forward"), _KINDS)]
    return {module: module.__dict__.pop("forward") for module in fused}


def _inputs(model: nn.Module, run: Callable[[], object]) -> dict[nn.Module, Call]:
    """What each module that looks like one of ours was given while the model ran."""
    seen: dict[nn.Module, Call] = {}

    def note(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        seen.setdefault(module, (args, kwargs))

    hooks = [
        module.register_forward_pre_hook(note, with_kwargs=True)
        for module in model.modules()
        if any(kind.candidates(module, None) for kind in _KINDS)
    ]
    try:
        run()
    finally:
        for hook in hooks:
            hook.remove()
    return seen


@contextmanager
def _frozen(model: nn.Module) -> Iterator[None]:
    """No parameter wants a gradient inside the block."""
    wanted = [p for p in model.parameters() if p.requires_grad]
    for parameter in wanted:
        parameter.requires_grad_(False)
    try:
        yield
    finally:
        for parameter in wanted:
            parameter.requires_grad_(True)


def _agrees(candidate: Any, call: Call) -> bool:
    """Whether output and gradient are those of the module itself; one that only hands on proves nothing."""
    plain = candidate.plain
    try:
        theirs = _tried(plain, call)
        candidate.plain = None
        ours = _tried(candidate, call)
    except _REFUSALS:
        return False
    finally:
        candidate.plain = plain
    return all(_close(a, b) for a, b in zip(ours, theirs, strict=True))


def _tried(forward: Callable[..., Any], call: Call) -> list[Tensor]:
    """The output, and the gradient of the input where it has one."""
    args, kwargs = call
    name = next(iter(kwargs), "") if not args else ""
    x = args[0] if args else kwargs[name]
    with torch.enable_grad():
        x = x.clone()
        if x.is_floating_point():
            x.requires_grad_(True)
        out = forward(*((x, *args[1:]) if args else ()), **(kwargs if args else {**kwargs, name: x}))
        out = out[0] if isinstance(out, tuple) else out
        if not x.requires_grad:
            return [out]
        pull = torch.randn(out.shape, generator=torch.Generator().manual_seed(0))
        (gradient,) = torch.autograd.grad(out, x, pull)
    return [out.detach(), gradient]


def _close(a: Tensor, b: Tensor) -> bool:
    return a.shape == b.shape and bool((a - b).abs().max() <= TOLERANCE * b.abs().max())
