"""The model as its family wrote it: what every computation of ours is proven against.

The decision: nothing is loaded a second time. Inside the block the modules run their own forward with eager attention,
which is what a family defines itself by; afterwards the model is as it was, to the bit. In double precision a long
model is no longer 1e-5 away from itself by rounding alone, so a difference is ours.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch

from tunesmith.models.fused.fuse import unfuse


@contextmanager
def untouched(model: Any, *, double: bool = False) -> Iterator[None]:
    """`model` without fused modules and without our attention; `double` turns its parameters to float64 besides.

    Gradients do not outlive a block in double precision.
    """
    attention = model.config._attn_implementation
    single = {p: p.data for p in model.parameters() if double and p.is_floating_point()}
    fused = unfuse(model)
    try:
        model.set_attn_implementation("eager")
        for parameter, data in single.items():
            parameter.grad, parameter.data = None, data.to(torch.float64)
        yield
    finally:
        for parameter, data in single.items():
            parameter.grad, parameter.data = None, data
        for module, forward in fused.items():
            module.__dict__["forward"] = forward
        model.set_attn_implementation(attention)
