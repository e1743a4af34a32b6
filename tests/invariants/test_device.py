"""A step on a device of its own (torch's `meta`) mixes no devices and no types, and reads nothing back.

What a GPU would refuse is refused here: an operation on tensors of two devices, a product of two types, and `.item()`.
"""

from typing import Any

import numpy as np
import pytest
import torch
from invariants.families import BY_FOREST
from invariants.test_forest_equals_alone import examples
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.attention import flex_attention as torchs
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from transformers import AutoModelForCausalLM

from tunesmith.models.attention import Way
from tunesmith.models.forward import Network, use_attention
from tunesmith.models.head import Head
from tunesmith.models.methods import apply
from tunesmith.models.settings import Full, Lora, Method
from tunesmith.training import step
from tunesmith.training.step import Pass, backward

BETWEEN = ("_to_copy", "copy_")
ONE_TYPE = ("mm", "addmm", "addmm_", "bmm", "baddbmm", "index_add", "index_add_", "index_copy_", "index_put_")


class Apart(TorchDispatchMode):
    """Refuses what works on a CPU alone."""

    supports_higher_order_operators = True

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        tensors = [value for value in tree_leaves((args, kwargs)) if isinstance(value, Tensor)]
        name = func.__name__.split(".")[0]
        assert name in BETWEEN or len({z.device for z in tensors if z.ndim}) < 2, f"{func} mixes devices"
        assert name not in ONE_TYPE or len({z.dtype for z in tensors if z.is_floating_point()}) < 2, f"{func}: types"
        return func(*args, **(kwargs or {}))


def on_host(there: list[Tensor]) -> list[NDArray[np.float32]]:
    """In place of the one time that a step waits for its device."""
    return [np.zeros(tuple(found.shape), np.float32) for found in there]


def test_what_mixes_devices_or_types_is_seen() -> None:
    with Apart():
        with pytest.raises(AssertionError, match="devices"):
            torch.ones(2) + torch.ones(2, device="meta")
        with pytest.raises(AssertionError, match="types"):
            torch.empty(2, 2, device="meta") @ torch.empty(2, 2, device="meta", dtype=torch.bfloat16)


@pytest.mark.parametrize("family", ["Qwen3", "Gemma 2", "gpt-oss", "Qwen3-MoE"])
@pytest.mark.parametrize("way", ["flex", "runs", "segments"])
@pytest.mark.parametrize("method", [Full(), Lora(rank=2)], ids=["full", "lora"])
def test_a_step_in_bfloat16_mixes_nothing_and_reads_nothing_back(
    method: Method, way: Way, family: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torchs, "_FLEX_ATTENTION_DISABLE_COMPILE_DEBUG", True)
    monkeypatch.setattr(torchs, "_validate_device", lambda *_: None)
    monkeypatch.setattr(step, "_on_host", on_host)
    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(BY_FOREST[family](), dtype=torch.bfloat16).eval()
    use_attention(model, forest=True)
    applied = apply(method, model, seed=0)
    with Apart():
        how = Pass(60, sharing=way != "runs", smoothing=0.1, weighting="entropy")
        backward(Network(model, True, Head.of(model), way), examples(), how, dropout_seed=None)
    assert all(p.grad is not None and p.grad.device == p.device for _, p in applied.trainable)
