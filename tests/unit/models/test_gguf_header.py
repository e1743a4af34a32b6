"""The header of a GGUF file is read without trusting it."""

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
    with pytest.raises(ValueError, match=r"it ends too early|does not begin"):
        single_values(tmp_path / "short.gguf")


def test_an_absurd_length_is_refused_before_it_is_read(tmp_path: Path) -> None:
    head = b"GGUF" + (3).to_bytes(4, "little") + (0).to_bytes(8, "little") + (1).to_bytes(8, "little")
    (tmp_path / "odd.gguf").write_bytes(head + (1 << 60).to_bytes(8, "little"))
    with pytest.raises(ValueError, match="a text of 1,152,921,504,606,846,976 bytes"):
        single_values(tmp_path / "odd.gguf")
