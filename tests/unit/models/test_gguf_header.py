"""The header of a GGUF file is read without trusting it."""

import struct
from pathlib import Path

import pytest
from gguf import GGUFReader
from unit.models.folders import gguf_file

from tunesmith.models.gguf_header import single_values


def test_single_values_are_those_of_the_general_reader(tmp_path: Path) -> None:
    file = gguf_file(tmp_path / "tiny.gguf")
    found = single_values(file)
    fields = GGUFReader(file).fields
    expected = {name: field.contents() for name, field in fields.items() if not name.startswith("GGUF.")}
    assert found == {name: value for name, value in expected.items() if not isinstance(value, list)}
    assert found["tokenizer.ggml.pre"] == "smollm"


@pytest.mark.parametrize("length", [0, 3, 20, 60, 500])
def test_a_file_that_was_cut_off_is_refused(length: int, tmp_path: Path) -> None:
    whole = gguf_file(tmp_path / "tiny.gguf").read_bytes()
    (tmp_path / "short.gguf").write_bytes(whole[:length])
    with pytest.raises(ValueError, match=r"it ends too early|does not begin|it should have"):
        single_values(tmp_path / "short.gguf")


def test_an_absurd_length_is_refused_before_it_is_read(tmp_path: Path) -> None:
    head = b"GGUF" + (3).to_bytes(4, "little") + (0).to_bytes(8, "little") + (1).to_bytes(8, "little")
    (tmp_path / "odd.gguf").write_bytes(head + (1 << 60).to_bytes(8, "little") + bytes(8))
    with pytest.raises(ValueError, match="a text of 1,152,921,504,606,846,976 bytes"):
        single_values(tmp_path / "odd.gguf")


def _head(tensors: int, values: int, rest: bytes = b"") -> bytes:
    return b"GGUF" + struct.pack("<IQQ", 3, tensors, values) + rest


def _named(name: bytes, rest: bytes) -> bytes:
    return struct.pack("<Q", len(name)) + name + rest


ARRAY = struct.pack("<I", 9)
HOSTILE = {
    "values without end": _head(0, 1 << 60),
    "tensors without end": _head(1 << 60, 0),
    "an array of numbers without end": _head(0, 1, _named(b"a", ARRAY + struct.pack("<IQ", 4, 1 << 61))),
    "an array of texts without end": _head(0, 1, _named(b"a", ARRAY + struct.pack("<IQ", 8, 1 << 61))),
    "arrays inside each other": _head(0, 1, _named(b"a", ARRAY + struct.pack("<IQ", 9, 1) * 1000)),
    "a value twice": _head(0, 2, _named(b"a", struct.pack("<IB", 0, 1)) * 2),
    "a tensor behind the end": _head(1, 0, _named(b"t", struct.pack("<IQIQ", 1, 8, 0, 1 << 62))),
    "a tensor larger than the file": _head(1, 0, _named(b"t", struct.pack("<IQQIQ", 2, 1 << 31, 1 << 31, 0, 0))),
    "a tensor of many dimensions": _head(1, 0, _named(b"t", struct.pack("<I", 1 << 31)) + bytes(64)),
    "a tensor of an unknown kind": _head(1, 0, _named(b"t", struct.pack("<IQIQ", 1, 8, 999, 0))),
    "a tensor of half a block": _head(1, 0, _named(b"t", struct.pack("<IQIQ", 1, 5, 2, 0))),
    "an alignment of nothing": _head(0, 1, _named(b"general.alignment", struct.pack("<II", 4, 0))),
}


@pytest.mark.parametrize("case", HOSTILE)
def test_counts_and_places_are_compared_with_the_file(case: str, tmp_path: Path) -> None:
    (tmp_path / "hostile.gguf").write_bytes(HOSTILE[case])
    with pytest.raises(ValueError, match=r"\w"):
        single_values(tmp_path / "hostile.gguf")
