"""A model is known by its values."""

import hashlib
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from tunesmith.errors import ModelError
from tunesmith.models.fingerprint import fingerprint, weights_sha256

TENSORS = {"b": torch.arange(6, dtype=torch.float32).reshape(2, 3), "a": torch.ones(4, dtype=torch.bfloat16)}


def test_the_hash_is_what_its_docstring_says(tmp_path: Path) -> None:
    save_file(TENSORS, tmp_path / "model.safetensors")
    said = b"a\0BF16\x004\0" + b"\x80\x3f" * 4 + b"b\0F32\x002,3\0" + TENSORS["b"].numpy().tobytes()
    assert weights_sha256(tmp_path) == hashlib.sha256(said).hexdigest()


def test_the_same_tensors_in_other_files_are_the_same_weights(tmp_path: Path) -> None:
    for name, parts in {"one": [TENSORS], "two": [{n: t} for n, t in TENSORS.items()]}.items():
        (tmp_path / name).mkdir()
        for index, part in enumerate(parts):
            save_file(part, tmp_path / name / f"model-{index}.safetensors")
    assert weights_sha256(tmp_path / "one") == weights_sha256(tmp_path / "two")


def test_another_configuration_is_another_model(tmp_path: Path) -> None:
    save_file(TENSORS, tmp_path / "model.safetensors")
    before = fingerprint(tmp_path)
    (tmp_path / "config.json").write_text("{}")
    assert fingerprint(tmp_path) != before


@pytest.mark.parametrize("content", [b"", b"12345678", b"\xff" * 16, b"\x02" + b"\0" * 7 + b"[]"])
def test_a_broken_file_is_named(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "model.safetensors").write_bytes(content)
    with pytest.raises(ModelError, match=r"model\.safetensors: is not a whole safetensors file"):
        weights_sha256(tmp_path)
