"""A model folder is checked before anything is loaded."""

from pathlib import Path

import pytest
from unit.models.folders import folder

from tunesmith.errors import ModelError
from tunesmith.models.fingerprint import INDEX
from tunesmith.models.folder import describe, verify


def test_a_whole_folder_passes_and_is_described(tmp_path: Path) -> None:
    verify(folder(tmp_path))
    facts = describe(tmp_path)
    assert facts["architecture"] == "LlamaForCausalLM"
    assert (facts["context"], facts["vocabulary"], facts["dtype"]) == (64, 32, "F32")
    assert facts["chat_template"] is True
    assert facts["parameters"] == 16544


def test_a_folder_without_weights_names_what_was_found(tmp_path: Path) -> None:
    folder(tmp_path)
    (tmp_path / "model.safetensors").unlink()
    with pytest.raises(ModelError, match=r"holds no safetensors weights\. Found: .*config\.json"):
        verify(tmp_path)


def test_pickled_weights_are_refused_with_the_way_out(tmp_path: Path) -> None:
    folder(tmp_path)
    (tmp_path / "model.safetensors").rename(tmp_path / "pytorch_model.bin")
    with pytest.raises(ModelError, match=r"can run code.*save_pretrained"):
        verify(tmp_path)


def test_weights_that_were_cut_off_are_refused(tmp_path: Path) -> None:
    file = folder(tmp_path) / "model.safetensors"
    file.write_bytes(file.read_bytes()[:-1])
    with pytest.raises(ModelError, match="is not a whole safetensors file"):
        verify(tmp_path)


def test_a_missing_part_is_named(tmp_path: Path) -> None:
    folder(tmp_path)
    (tmp_path / INDEX).write_text('{"weight_map": {"a": "model.safetensors", "b": "model-00002.safetensors"}}')
    with pytest.raises(ModelError, match=r"model-00002\.safetensors, which is not there"):
        verify(tmp_path)


def test_a_folder_that_is_no_model_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"config\.json is missing\. The folder is empty"):
        verify(tmp_path)


def test_a_folder_above_the_model_points_to_it(tmp_path: Path) -> None:
    folder(tmp_path / "run" / "best")
    with pytest.raises(ModelError, match=r"Perhaps you mean .*/run/best\."):
        verify(tmp_path / "run")


def test_weights_that_lie_there_twice_count_once(tmp_path: Path) -> None:
    before = describe(folder(tmp_path))
    (tmp_path / "consolidated.safetensors").write_bytes((tmp_path / "model.safetensors").read_bytes())
    assert describe(tmp_path) == before
