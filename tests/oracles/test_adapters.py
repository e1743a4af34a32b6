"""Adapters are PEFT's: the same numbers, the same gradient, the same files."""

import copy
from pathlib import Path
from typing import Any

import peft
import pytest
import torch
from invariants.families import ALONE, BY_FOREST, build

from tunesmith.models.adapters import adapted, disabled, load_adapter, merge, save_adapter
from tunesmith.models.methods import apply
from tunesmith.models.settings import Lora
from tunesmith.models.sources import Source

# PEFT asks transformers by a name that transformers is about to drop.
pytestmark = pytest.mark.filterwarnings("ignore:.is_gradient_checkpointing. is deprecated:FutureWarning")
FAMILIES = {**BY_FOREST, **ALONE}
METHOD = Lora(rank=3, alpha=7.0)
IDS = torch.randint(3, 128, (2, 9), generator=torch.Generator().manual_seed(0))
TOLERANCE = 1e-6
SINGLE_ONLY = {"Qwen3-MoE", "gpt-oss", "Mixtral", "Mamba"}  # parts of these refuse double precision


def with_adapter(family: str, method: Lora = METHOD, *, learned: bool = True) -> tuple[Any, Any]:
    """A tiny base and a copy of it with an adapter, which has learned something unless told otherwise."""
    base = build(FAMILIES[family]())
    model = copy.deepcopy(base)
    apply(method, model, seed=0)
    if learned:
        generator = torch.Generator().manual_seed(1)
        for layer in adapted(model).values():
            torch.nn.init.normal_(layer.lora_B, std=0.1, generator=generator)
    return base, model


def save(base: Any, model: Any, folder: Path, method: Lora = METHOD) -> Path:
    """The adapter's folder, beside the folder of its base."""
    base.save_pretrained(folder / "base")
    save_adapter(model, folder / "adapter", method, Source(folder / "base", "base", None, None, "0"))
    return folder / "adapter"


def logits(model: Any) -> torch.Tensor:
    """The logits of a few tokens."""
    found: torch.Tensor = model(input_ids=IDS, use_cache=False).logits
    return found


def difference(a: Any, b: Any) -> float:
    """The largest difference, relative to the largest value."""
    return float(((a - b).abs().max() / b.abs().max()).detach())


@pytest.mark.parametrize("family", FAMILIES)
def test_logits_and_gradient_are_those_of_peft(family: str, tmp_path: Path) -> None:
    base, model = with_adapter(family)
    theirs = peft.PeftModel.from_pretrained(base, save(base, model, tmp_path), is_trainable=True)
    tolerance = 1e-5
    if family not in SINGLE_ONLY:  # in double precision only another formula could make a difference
        tolerance = 1e-12
        theirs, model = theirs.double(), model.double()
    logits(theirs).square().mean().backward()
    logits(model).square().mean().backward()
    assert difference(logits(model), logits(theirs)) < tolerance
    gradients = {n: p.grad for n, p in theirs.named_parameters() if p.grad is not None}
    assert len(gradients) == 2 * len(adapted(model))
    for name, layer in adapted(model).items():
        for part in ("lora_A", "lora_B"):
            expected = gradients[f"base_model.model.{name}.{part}.default.weight"]
            assert difference(getattr(layer, part).grad, expected) < tolerance, name


@pytest.mark.parametrize("family", ["Llama", "GPT-2"])
def test_one_layer_is_that_of_peft_in_single_precision(family: str, tmp_path: Path) -> None:
    base, model = with_adapter(family)
    theirs = peft.PeftModel.from_pretrained(base, save(base, model, tmp_path), is_trainable=True)
    for name, layer in adapted(model).items():
        x = torch.randn(2, 5, layer.lora_A.shape[1], generator=torch.Generator().manual_seed(2), requires_grad=True)
        y = x.detach().clone().requires_grad_()
        other = theirs.get_submodule(f"base_model.model.{name}")
        layer(x).square().mean().backward()
        other(y).square().mean().backward()
        assert difference(layer(x), other(y)) < TOLERANCE, name
        assert difference(x.grad, y.grad) < TOLERANCE, name
        for part in ("lora_A", "lora_B"):
            assert difference(getattr(layer, part).grad, getattr(other, part).default.weight.grad) < TOLERANCE, name


@pytest.mark.parametrize("family", FAMILIES)
def test_a_new_adapter_changes_no_bit_of_the_base(family: str) -> None:
    base, model = with_adapter(family, learned=False)
    assert torch.equal(logits(model), logits(base))


@pytest.mark.parametrize("family", FAMILIES)
def test_merged_equals_adapter_and_disabled_equals_base(family: str) -> None:
    base, model = with_adapter(family)
    before = logits(model)
    assert difference(before, logits(base)) > 1e-3
    with disabled(model):
        assert torch.equal(logits(model), logits(base))
    merge(model)
    assert not adapted(model)
    assert difference(logits(model), before) < 1e-5


@pytest.mark.parametrize(
    "method", [METHOD, Lora(rank=4, rslora=True), Lora(rank=2, targets=("q_proj", "layers.1.mlp.up_proj"))]
)
def test_a_saved_adapter_loads_everywhere_with_the_same_logits(method: Lora, tmp_path: Path) -> None:
    base, model = with_adapter("Llama", method)
    folder = save(base, model, tmp_path, method)
    ours = copy.deepcopy(base)
    load_adapter(ours, folder)
    assert torch.equal(logits(ours), logits(model))
    automatic = peft.AutoPeftModelForCausalLM.from_pretrained(folder)
    assert difference(logits(automatic), logits(model)) < TOLERANCE
    by_hand = peft.PeftModel.from_pretrained(base, folder)
    assert difference(logits(by_hand), logits(model)) < TOLERANCE


def test_adapters_of_peft_are_read(tmp_path: Path) -> None:
    base = build(FAMILIES["GPT-2"]())
    config = peft.LoraConfig(
        r=3, lora_alpha=5, target_modules="all-linear", fan_in_fan_out=True, init_lora_weights=False
    )
    theirs = peft.get_peft_model(copy.deepcopy(base), config)
    theirs.save_pretrained(tmp_path)
    load_adapter(base, tmp_path)
    assert difference(logits(base), logits(theirs)) < TOLERANCE
