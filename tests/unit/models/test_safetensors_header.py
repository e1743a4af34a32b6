"""The header of a safetensors file is measured before a byte is set aside for it."""

import json
import random
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file
from unit.models.folders import folder

from tunesmith.errors import ModelError
from tunesmith.models.fingerprint import INDEX, weights_sha256
from tunesmith.models.folder import verify
from tunesmith.models.safetensors_header import header


def whole(path: Path) -> Path:
    """Three tensors, one of them empty."""
    save_file({"a": torch.ones(3, 2), "b": torch.zeros(4, dtype=torch.bfloat16), "c": torch.zeros(0, 5)}, path)
    return path


def written(path: Path, text: str | bytes, data: int = 24, length: int | None = None) -> Path:
    """A file with that header and `data` zero bytes behind it."""
    raw = text.encode() if isinstance(text, str) else text
    path.write_bytes((len(raw) if length is None else length).to_bytes(8, "little") + raw + bytes(data))
    return path


def tensor(**changes: Any) -> str:
    """A header with one tensor of 24 bytes, changed."""
    return json.dumps({"a": {"dtype": "F32", "shape": [3, 2], "data_offsets": [0, 24], **changes}})


def test_a_whole_file_is_read_as_the_library_reads_it(tmp_path: Path) -> None:
    file = whole(tmp_path / "whole")
    found = header(file)
    with safe_open(file, framework="pt") as tensors:
        slices = {name: tensors.get_slice(name) for name in tensors.keys()}  # noqa: SIM118
    assert {name: (t.dtype, list(t.shape)) for name, t in found.items()} == {
        name: (piece.get_dtype(), piece.get_shape()) for name, piece in slices.items()
    }
    assert file.read_bytes()[found["a"].start : found["a"].end] == torch.ones(6).numpy().tobytes()


THREE = '"dtype": "F32", "shape": [3], "data_offsets"'


def two(first: str, name: str, second: str) -> str:
    """A header with the tensor `a` and another one, at those offsets."""
    return f'{{"a": {{{THREE}: {first}}}, "{name}": {{{THREE}: {second}}}}}'


HOSTILE: dict[str, tuple[str | bytes, int | None]] = {
    "a header of 2**63 bytes": (tensor(), 1 << 63),
    "a header of a gigabyte": (tensor(), 1 << 30),
    "a header longer than the file": (tensor(), 10_000),
    "no object": ("[]", None),
    "no JSON": ("{" * 20, None),
    "nesting without end": ("[" * 100_000, None),
    "no UTF-8": (b'{"\xff": 1}', None),
    "offsets that are negative": (tensor(data_offsets=[-24, 0]), None),
    "offsets turned round": (tensor(data_offsets=[24, 0]), None),
    "offsets behind the end": (tensor(data_offsets=[0, 1 << 62]), None),
    "three offsets": (tensor(data_offsets=[0, 24, 24]), None),
    "offsets that are no numbers": (tensor(data_offsets=["0", "24"]), None),
    "offsets that are true and false": (tensor(data_offsets=[False, True]), None),
    "a shape that needs more": (tensor(shape=[3, 3]), None),
    "a shape that is negative": (tensor(shape=[-3, -2]), None),
    "a shape beyond any number": (tensor(shape=[1 << 62] * 60), None),
    "a shape of a million numbers": (tensor(shape=[1] * 1_000_000), None),
    "a dtype that is unknown": (tensor(dtype="F7"), None),
    "a dtype that is no text": (tensor(dtype=[]), None),
    "a field too many": (tensor(more=1), None),
    "a tensor that is no object": ('{"a": 1}', None),
    "a gap at the beginning": (tensor(shape=[2, 2], data_offsets=[8, 24]), None),
    "a gap at the end": (tensor(shape=[2, 2], data_offsets=[0, 16]), None),
    "tensors that overlap": (two("[0, 12]", "b", "[8, 20]"), None),
    "tensors on one place": (two("[0, 12]", "b", "[0, 12]"), None),
    "a name that stands twice": (two("[0, 12]", "a", "[12, 24]"), None),
}


@pytest.mark.parametrize("case", HOSTILE)
def test_a_header_that_contradicts_itself_or_the_file_is_refused(case: str, tmp_path: Path) -> None:
    text, length = HOSTILE[case]
    with pytest.raises(ModelError, match="is not a whole safetensors file"):
        header(written(tmp_path / "hostile", text, length=length))


def test_a_file_cut_or_grown_anywhere_is_refused(tmp_path: Path) -> None:
    file = whole(tmp_path / "whole")
    content = file.read_bytes()
    for length in [*range(0, 40), *random.Random(0).sample(range(40, len(content)), 40)]:
        file.write_bytes(content[:length])
        with pytest.raises(ModelError):
            header(file)
    file.write_bytes(content + b"\0")
    with pytest.raises(ModelError, match="end at byte"):
        header(file)


def test_a_folder_with_a_hostile_header_is_neither_verified_nor_summed(tmp_path: Path) -> None:
    written(folder(tmp_path) / "model.safetensors", tensor(), length=1 << 40)
    for act in (verify, weights_sha256):
        with pytest.raises(ModelError, match="its header should have"):
            act(tmp_path)


@pytest.mark.parametrize("name", ["../model.safetensors", "/etc/passwd", "a/../../x.safetensors", ".."])
def test_an_index_that_leads_out_of_its_folder_is_refused(name: str, tmp_path: Path) -> None:
    folder(tmp_path / "inner")
    (tmp_path / "inner" / INDEX).write_text(json.dumps({"weight_map": {"a": name}}))
    with pytest.raises(ModelError, match="no file of this folder"):
        verify(tmp_path / "inner")


def test_a_folder_that_is_model_and_adapter_at_once_is_refused(tmp_path: Path) -> None:
    (folder(tmp_path) / "adapter_config.json").write_text("{}")
    with pytest.raises(ModelError, match="a model to one tool and an adapter to another"):
        verify(tmp_path)
