"""What a GGUF file's header says, read without trusting it: its single values, and whether its tensors lie in the file.

The decision: read the few bytes that are asked for. The general reader builds an object for each of the 260,000 entries
of a large vocabulary, which takes longer than all else about a conversion that we do ourselves. It also believes every
count that it meets; here a count is compared with the bytes that are left before anything is done for it.
Format: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md
"""

import struct
from pathlib import Path
from typing import BinaryIO

from gguf import GGML_QUANT_SIZES, GGMLQuantizationType

_SCALARS = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"}
_TEXT, _ARRAY = 8, 9
_LONGEST_TEXT = 1 << 24
_DEEPEST = 4
"""Arrays inside each other."""
_MOST_DIMENSIONS = 4
_KINDS = frozenset(int(kind) for kind in GGMLQuantizationType)
_LEAST = {"values": 13, "tensors": 24}
"""Bytes that a value and a tensor take at least: a name's length, a kind, one byte; and the place of the data."""

Value = str | int | float | bool


def single_values(file: Path) -> dict[str, Value]:
    """The header's texts, numbers and flags by name; arrays are left out.

    Raises:
        ValueError: it is not a whole GGUF file (of version 2 or later, little-endian), or it contradicts itself.
    """
    found: dict[str, Value] = {}
    size = file.stat().st_size
    with file.open("rb") as stream:
        if _bytes(stream, 4) != b"GGUF" or not 2 <= int(_scalar(stream, "I")) < 1 << 16:
            raise ValueError("it does not begin like one")
        tensors, values = int(_scalar(stream, "Q")), int(_scalar(stream, "Q"))
        for what, count in (("tensors", tensors), ("values", values)):
            _require_room(count, _LEAST[what], size - stream.tell(), what)
        for _ in range(values):
            name = _text(stream)
            if name in found:
                raise ValueError(f"the value {name[:80]!r} stands in it twice")
            value = _value(stream, int(_scalar(stream, "I")), size)
            if value is not None:
                found[name] = value
        ends = [_tensor_end(stream) for _ in range(tensors)]
        alignment = found.get("general.alignment", 32)
        if not isinstance(alignment, int) or not 0 < alignment <= 1 << 16:
            raise ValueError(f"its tensors are aligned to {alignment} bytes")
        begin = -(-stream.tell() // alignment) * alignment
        if begin + max(ends, default=0) > max(size, begin):
            raise ValueError(f"its tensors should end at byte {begin + max(ends):,}, and the file has {size:,}")
    return found


def _value(stream: BinaryIO, kind: int, size: int, depth: int = 0) -> Value | None:
    """The next value; None after skipping an array."""
    if kind in _SCALARS:
        return _scalar(stream, _SCALARS[kind])
    if kind == _TEXT:
        return _text(stream)
    if kind != _ARRAY or depth == _DEEPEST:
        raise ValueError(f"it has a value of the unknown kind {kind}")
    of, count = int(_scalar(stream, "I")), int(_scalar(stream, "Q"))
    each = struct.calcsize(_SCALARS[of]) if of in _SCALARS else 8
    _require_room(count, each, size - stream.tell(), "entries")
    if of in _SCALARS:
        stream.seek(count * each, 1)
    else:
        for _ in range(count):
            _value(stream, of, size, depth + 1)
    return None


def _tensor_end(stream: BinaryIO) -> int:
    """Where the next tensor ends, counted from the beginning of the data."""
    name = _text(stream)
    dimensions = int(_scalar(stream, "I"))
    if dimensions > _MOST_DIMENSIONS:
        raise ValueError(f"the tensor {name[:80]!r} has {dimensions:,} dimensions")
    elements = 1
    for _ in range(dimensions):
        elements *= int(_scalar(stream, "Q"))
    kind, start = int(_scalar(stream, "I")), int(_scalar(stream, "Q"))
    if kind not in _KINDS:
        raise ValueError(f"the tensor {name[:80]!r} is of the unknown kind {kind}")
    block, width = GGML_QUANT_SIZES[GGMLQuantizationType(kind)]
    if elements % block:
        raise ValueError(f"the tensor {name[:80]!r} has {elements:,} values, which make no whole blocks of {block}")
    return start + elements // block * width


def _require_room(count: int, each: int, left: int, what: str) -> None:
    if count * each > left:
        raise ValueError(f"it should have {count:,} {what}, and has {left:,} bytes left for them")


def _scalar(stream: BinaryIO, code: str) -> Value:
    value: Value = struct.unpack(f"<{code}", _bytes(stream, struct.calcsize(code)))[0]
    return value


def _text(stream: BinaryIO) -> str:
    length = int(_scalar(stream, "Q"))
    if length > _LONGEST_TEXT:
        raise ValueError(f"it has a text of {length:,} bytes")
    return _bytes(stream, length).decode()


def _bytes(stream: BinaryIO, count: int) -> bytes:
    found = stream.read(count)
    if len(found) < count:
        raise ValueError("it ends too early")
    return found
