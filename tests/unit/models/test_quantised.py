"""Matrices in four bits are layers with the dequantised matrix, in training, merging and on disk."""

import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from invariants.families import BY_FOREST, build
from invariants.test_forest_equals_alone import LONGEST, examples, worst
from torch import nn

from tunesmith.errors import ModelError, RecipeError
from tunesmith.models.adapters import adapted, load_adapter, merge, save_adapter
from tunesmith.models.bank import Bank
from tunesmith.models.lora import LoraLinear
from tunesmith.models.methods import apply
from tunesmith.models.probe import probe
from tunesmith.models.quantised import Nf4Linear, quantise
from tunesmith.models.settings import Lora
from tunesmith.models.sources import Source
from tunesmith.training.step import Pass, backward

QLORA = Lora(rank=2, quantize="nf4")


def quantised_model() -> tuple[Any, Any]:
    """A model with adapters that changed something beside matrices in four bits, and what its method says."""
    pytest.importorskip("bitsandbytes")
    model = build(BY_FOREST["Qwen3"]())
    applied = apply(QLORA, model, seed=0)
    generator = torch.Generator().manual_seed(1)
    for layer in adapted(model).values():
        layer.lora_B.data = torch.randn(layer.lora_B.shape, generator=generator) * 0.1
    return model, applied


def dequantised(model: Any) -> Any:
    """The same model with its matrices in four bits replaced by plain ones, adapters kept."""
    for name, module in list(model.named_modules()):
        if isinstance(module, Nf4Linear):
            model.set_submodule(name, module.plain())
    return model


def test_a_step_beside_four_bits_is_the_step_beside_the_dequantised_matrices() -> None:
    (model, _), (plain, _) = quantised_model(), quantised_model()
    dequantised(plain)
    measured, expected = (
        backward(probe(each, longest=LONGEST).network, examples(), Pass(4096, sharing=True), dropout_seed=None)
        for each in (model, plain)
    )
    assert measured.loss == pytest.approx(expected.loss, rel=1e-6)
    assert worst(model, {n: p.grad for n, p in plain.named_parameters() if p.grad is not None}) < 1e-6


def test_merging_gives_the_dequantised_matrix_with_the_adapter_in_it() -> None:
    model, _ = quantised_model()
    layer: Any = model.model.layers[0].mlp.up_proj
    assert isinstance(layer, LoraLinear)
    expected = layer.base.weight + layer.change()
    merge(model)
    assert type(model.model.layers[0].mlp.up_proj) is nn.Linear
    assert torch.equal(model.model.layers[0].mlp.up_proj.weight, expected)
    assert not any(isinstance(module, Nf4Linear) for module in model.modules())


def test_a_stored_adapter_is_put_on_the_same_four_bits_again(tmp_path: Path) -> None:
    model, _ = quantised_model()
    save_adapter(model, tmp_path, QLORA, Source(tmp_path, "base", None, None, "0" * 64))
    again = build(BY_FOREST["Qwen3"]())
    load_adapter(again, tmp_path)
    ids = torch.arange(3, 40)[None]
    assert torch.equal(again(input_ids=ids).logits, model(input_ids=ids).logits)


def test_all_parameters_are_counted_and_the_four_bits_are_said() -> None:
    _, applied = quantised_model()
    plain = apply(Lora(rank=2), build(BY_FOREST["Qwen3"]()), seed=0)
    assert applied.total_parameters == plain.total_parameters
    assert "four bits" in applied.notes[0]


def test_without_bitsandbytes_the_error_names_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "bitsandbytes.functional", None)
    with pytest.raises(RecipeError, match=r"pip install 'tunesmith\[qlora\]'"):
        quantise(nn.Linear(8, 8))


def test_an_adapter_of_four_bits_does_not_share_a_base_with_others(tmp_path: Path) -> None:
    model, _ = quantised_model()
    save_adapter(model, tmp_path, QLORA, Source(tmp_path, "base", None, None, "0" * 64))
    with pytest.raises(ModelError, match="--merge"):
        Bank(build(BY_FOREST["Qwen3"]())).add("mine", tmp_path)
