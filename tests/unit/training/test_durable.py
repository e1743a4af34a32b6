import errno
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import load_file

from tunesmith import disk
from tunesmith.errors import TrainingError
from tunesmith.training import durable

DTYPES = [torch.float32, torch.bfloat16, torch.float16, torch.float64, torch.int64, torch.uint8, torch.bool]


@given(st.lists(st.tuples(st.sampled_from(DTYPES), st.lists(st.integers(0, 3), max_size=3)), max_size=6))
def test_the_safetensors_library_reads_the_bits_that_were_written(
    tmp_path_factory: pytest.TempPathFactory, shapes: list[tuple[torch.dtype, list[int]]]
) -> None:
    path = tmp_path_factory.mktemp("durable") / "tensors.safetensors"
    tensors = {f"tensor.{place}": torch.randn(shape).to(dtype) for place, (dtype, shape) in enumerate(shapes)}
    disk.write_synced(path, durable.safetensors_pieces(tensors))
    loaded = load_file(path)
    assert loaded.keys() == tensors.keys()
    for name, tensor in tensors.items():
        assert loaded[name].dtype == tensor.dtype
        assert torch.equal(loaded[name], tensor)


def test_a_tensor_longer_than_a_piece_or_not_contiguous_is_written_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(disk, "CHUNK", 64)
    turned = torch.arange(300.0).reshape(20, 15).T
    disk.write_synced(tmp_path / "turned", durable.safetensors_pieces({"turned": turned}))
    assert torch.equal(load_file(tmp_path / "turned")["turned"], turned)


def test_a_contiguous_tensor_is_written_from_where_it_lies() -> None:
    tensor = torch.zeros(4)
    *_, piece = durable.safetensors_pieces({"zeros": tensor})
    tensor += 1
    assert bytes(piece) == tensor.numpy().tobytes()


def test_the_sum_of_what_was_written_is_the_sum_of_the_file(tmp_path: Path) -> None:
    path = tmp_path / "file"
    assert disk.write_synced(path, [b"one", b"", memoryview(b"two")]) == disk.sha256_of(path)
    assert path.read_bytes() == b"onetwo"


def test_a_write_that_fails_leaves_the_old_text_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "report.json"
    durable.write_json(path, {"score": 1})

    def full(*_: object) -> str:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(TrainingError, match=r"report\.json: cannot be written: the disk is full"):
        durable.write_json(path, {"score": 2})
    assert [file.read_text() for file in tmp_path.iterdir()] == ['{\n  "score": 1\n}\n']


def test_json_has_no_word_for_what_is_not_a_number() -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        durable.json_text({"best": float("nan")})


def test_what_is_sealed_is_known_to_be_what_was_written(tmp_path: Path) -> None:
    file = tmp_path / "f.json"
    assert durable.read_sealed(file) is None
    value = {"loss": 1.25, "of": [None, "ü"]}
    durable.write_sealed(file, value)
    assert durable.read_sealed(file) == value
    whole = file.read_bytes()
    for place in range(len(whole)):
        for damaged in (whole[:place], whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :]):
            file.write_bytes(damaged)
            assert durable.read_sealed(file) in (None, value)
