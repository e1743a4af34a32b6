"""Products by another library are torch's own."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from tunesmith.models import products
from tunesmith.models.products import back, onward


def drawn(*shape: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(sum(shape)))


LAYOUTS: dict[str, Callable[[Tensor], Tensor]] = {
    "whole": lambda z: z,
    "turned": lambda z: z.t().contiguous().t(),
    "a part of wider rows": lambda z: torch.cat([z, z], 1)[:, : z.shape[1]],
}


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("rows", [0, 1, 5, 40])
def test_a_product_is_that_of_float64(rows: int, layout: str) -> None:
    x, weight, bias, grad = (
        LAYOUTS[layout](z) for z in (drawn(rows, 24), drawn(16, 24), drawn(1, 16), drawn(rows, 16))
    )
    for found, expected in (
        (onward(x, weight), x.double() @ weight.double().t()),
        (onward(x, weight, bias[0]), x.double() @ weight.double().t() + bias[0].double()),
        (back(grad, weight), grad.double() @ weight.double()),
    ):
        assert found.shape == expected.shape
        assert torch.allclose(found.double(), expected, atol=1e-5)


def test_what_the_library_would_be_slow_at_stays_with_torch(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[int] = []
    monkeypatch.setattr(products, "_onednn", lambda x, w, *_: asked.append(len(x)) or x @ w.t())
    onward(drawn(5, 8), drawn(4, 8))
    onward(drawn(6, 16)[:, :8], drawn(4, 8))
    onward(drawn(7, 8).double(), drawn(4, 8).double())
    assert asked == [5]


def test_without_the_library_torch_multiplies(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(products, "_onednn", None)
    assert torch.equal(onward(drawn(5, 8), drawn(4, 8)), drawn(5, 8) @ drawn(4, 8).t())
