"""Large products with a weight in float32 on a CPU, by the library that is fastest at them.

The decision: torch asks its BLAS for every product, and on processors of AMD that is not the fastest library it holds.
oneDNN computes `x · Wᵀ` and `g · W` 5 to 10 % faster at the shapes of a layer, up to a third at those of an output
matrix with few rows; the gradient of a weight, `gᵀ · x`, is faster by BLAS and stays there. torch has no public name
for this; what its own compiler calls is called here, and torch's product where that is missing. No gradient is
recorded. oneDNN writes code for every shape that it meets and keeps that of a thousand, 0.8 MB each, scattered among
what a step frees; a step has about twenty shapes, so fewer are kept.

Letters: T rows, I inputs, O outputs.
"""

import os
import platform
from typing import Any

import torch
from torch import Tensor

os.environ.setdefault("ONEDNN_PRIMITIVE_CACHE_CAPACITY", "64")  # read at the first product

_MEASURED = platform.machine() in ("x86_64", "AMD64") and torch.backends.mkldnn.is_available()  # type: ignore[no-untyped-call]
_onednn: Any = getattr(torch.ops.mkldnn, "_linear_pointwise", None) if _MEASURED else None


def onward(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """x [T, I] · weight [O, I]ᵀ + bias [O], as [T, O]."""
    if _suits(x, weight):
        return _onednn(x, weight, bias, "none", [], "")  # type: ignore[no-any-return]
    return x @ weight.t() if bias is None else torch.addmm(bias, x, weight.t())


def back(grad: Tensor, weight: Tensor) -> Tensor:
    """grad [T, O] · weight [O, I], as [T, I]."""
    return onward(grad, weight.t())


def _suits(x: Tensor, weight: Tensor) -> bool:
    if _onednn is None or x.device.type != "cpu" or not x.dtype == weight.dtype == torch.float32:
        return False
    # Of anything but whole matrices and their transposes it makes a product a thousand times slower.
    return all(z.is_contiguous() or z.t().is_contiguous() for z in (x, weight))
