"""What is saved is the model in memory, with its tokenizer beside it."""

from pathlib import Path

import pytest
import torch
from invariants.families import ALONE, BY_FOREST, build
from transformers import AutoModelForCausalLM, AutoTokenizer
from unit.models.folders import folder

from tunesmith.models.folder import verify
from tunesmith.models.load import load_model
from tunesmith.models.save import write_model

FAMILIES = {**BY_FOREST, **ALONE}
IDS = torch.arange(3, 12)[None]


@pytest.mark.parametrize("family", FAMILIES)
def test_saved_equals_in_memory(family: str, tmp_path: Path) -> None:
    network = build(FAMILIES[family]())
    (tmp_path / "out").mkdir()
    write_model(network, tmp_path / "out", source_folder=tmp_path)
    verify(tmp_path / "out")
    again = load_model(tmp_path / "out", dtype=torch.float32)
    assert torch.equal(again(input_ids=IDS, use_cache=False).logits, network(input_ids=IDS, use_cache=False).logits)


def test_transformers_loads_model_and_tokenizer(tmp_path: Path) -> None:
    source = folder(tmp_path / "source")
    network = load_model(source, dtype=torch.float32)
    (tmp_path / "out").mkdir()
    write_model(network, tmp_path / "out", source_folder=source)
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "out")
    assert tokenizer.chat_template == AutoTokenizer.from_pretrained(source).chat_template
    again = AutoModelForCausalLM.from_pretrained(tmp_path / "out")
    assert torch.equal(again.lm_head.weight, network.lm_head.weight)


def test_generation_settings_that_transformers_only_reads_are_kept(tmp_path: Path) -> None:
    source = folder(tmp_path / "source")
    (source / "generation_config.json").write_text('{"do_sample": false, "temperature": 0.5, "eos_token_id": [0, 2]}')
    network = load_model(source, dtype=torch.float32)
    (tmp_path / "out").mkdir()
    write_model(network, tmp_path / "out", source_folder=source)
    assert "0.5" in (tmp_path / "out" / "generation_config.json").read_text()
