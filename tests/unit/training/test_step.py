"""How often the host waits for the device in a step."""

from typing import Any

import pytest
import torch
from invariants.families import BY_FOREST, build
from invariants.test_forest_equals_alone import LONGEST, examples
from torch.utils._python_dispatch import TorchDispatchMode

from tunesmith.models.methods import apply
from tunesmith.models.probe import probe
from tunesmith.models.settings import Lora
from tunesmith.training.divergence import Toward
from tunesmith.training.step import Pass, backward

WAITS = ("_local_scalar_dense", "nonzero", "masked_select", "_unique2", "unique_dim", "equal")
"""What the host has to know the result of: `.item()`, a tensor as a condition, and lengths that follow the data."""


class Waits(TorchDispatchMode):
    """Counts what would make the host wait for a GPU, copies to the host among it."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[str] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = func.overloadpacket.__name__
        by_mask = name in ("index", "index_put", "index_put_") and any(
            place is not None and place.dtype == torch.bool for place in args[1]
        )
        if name in WAITS or by_mask:
            self.seen.append(name)
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize("weighting", ["none", "entropy"])
def test_the_host_waits_as_often_for_many_micro_batches_as_for_one(
    weighting: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = build(BY_FOREST["Qwen3"]())
    network = probe(model, longest=LONGEST).network
    apply(Lora(rank=2), model, seed=0)
    brought: list[str] = []
    for name in ("cpu", "tolist", "numpy"):
        plain = getattr(torch.Tensor, name)
        monkeypatch.setattr(torch.Tensor, name, lambda z, *a, _p=plain, _n=name: brought.append(_n) or _p(z, *a))
    seen = []
    for budget in (4096, 20):
        brought.clear()
        with Waits() as waits:
            how = Pass(budget, sharing=True, weighting=weighting, toward=Toward(0.1))
            backward(network, examples(), how, dropout_seed=None)
        seen.append((waits.seen, list(brought)))
    assert seen[0] == seen[1]
    assert seen[0] == (["_local_scalar_dense"], ["cpu", "numpy"])  # the KL and the losses
