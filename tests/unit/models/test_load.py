"""A folder becomes a whole network, or an error that names it."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from unit.models.folders import folder

from tunesmith.errors import ModelError
from tunesmith.models.adapters import adapted, save_adapter
from tunesmith.models.load import base_of, load_model
from tunesmith.models.methods import apply
from tunesmith.models.settings import Lora
from tunesmith.models.sources import resolve

IDS = torch.arange(3, 12)[None]


@pytest.fixture
def adapter(tmp_path: Path) -> Path:
    """An adapter that has learned something, on the base `tmp_path/base`."""
    source = resolve(str(folder(tmp_path / "base")))
    network = load_model(source.folder, dtype=torch.float32)
    apply(Lora(rank=2), network, seed=0)
    for layer in adapted(network).values():
        torch.nn.init.ones_(layer.lora_B)
    save_adapter(network, tmp_path / "adapter", Lora(rank=2), source)
    torch.save(network(input_ids=IDS).logits, tmp_path / "logits")
    return tmp_path / "adapter"


def test_nothing_is_printed(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    load_model(folder(tmp_path), dtype=torch.bfloat16)
    capfd.readouterr()
    network = load_model(tmp_path, dtype=torch.bfloat16)
    assert capfd.readouterr() == ("", "")
    assert network.dtype == torch.bfloat16
    assert not network.training


def test_a_missing_tensor_is_not_filled_with_random_numbers(tmp_path: Path) -> None:
    file = folder(tmp_path) / "model.safetensors"
    tensors = load_file(file)
    del tensors["model.layers.1.mlp.up_proj.weight"]
    save_file(tensors, file, metadata={"format": "pt"})
    with pytest.raises(ModelError, match=r"1 tensors are missing.*layers\.1\.mlp\.up_proj"):
        load_model(tmp_path, dtype=torch.float32)


def test_an_adapter_is_loaded_on_its_base(adapter: Path) -> None:
    expected = torch.load(adapter.parent / "logits", weights_only=True)
    assert torch.equal(load_model(adapter, dtype=torch.float32)(input_ids=IDS).logits, expected)


def test_another_base_than_the_trained_one_is_refused(adapter: Path) -> None:
    file = adapter.parent / "base" / "model.safetensors"
    tensors = {name: value * 2 for name, value in load_file(file).items()}
    save_file(tensors, file, metadata={"format": "pt"})
    with pytest.raises(ModelError, match="trained on another model"):
        load_model(adapter, dtype=torch.float32)


def test_a_base_that_moved_is_found_by_its_name(adapter: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (adapter.parent / "base").rename(adapter.parent / "moved")
    with pytest.raises(ModelError, match=r"base model of this adapter is not to be found|is not here"):
        base_of(adapter)
    (adapter.parent / "moved").rename(adapter.parent / "elsewhere")
    (adapter.parent / "work").mkdir()
    (adapter.parent / "elsewhere").rename(adapter.parent / "work" / "base")
    monkeypatch.chdir(adapter.parent / "work")
    assert base_of(adapter).folder == adapter.parent / "work" / "base"


def test_an_adapter_of_another_kind_is_refused_by_name(adapter: Path) -> None:
    config = adapter / "adapter_config.json"
    config.write_text(config.read_text().replace('"use_dora": false', '"use_dora": true'))
    with pytest.raises(ModelError, match=r"use_dora is True, which is not computed here. Merge"):
        load_model(adapter, dtype=torch.float32)
