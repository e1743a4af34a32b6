"""The single values in a GGUF file's header, without its tensors and tables.

The decision: read the few bytes that are asked for. The general reader builds an object for each of the 260,000 entries
of a large vocabulary, which takes longer than all else about a conversion that we do ourselves.
Format: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md
"""

import struct
from pathlib import Path
from typing import BinaryIO

_SCALARS = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"}
_TEXT, _ARRAY = 8, 9
_LONGEST_TEXT = 1 << 24

Value = str | int | float | bool


def single_values(file: Path) -> dict[str, Value]:
    """The header's texts, numbers and flags by name; arrays are left out.

    Raises:
        ValueError: it is not a whole GGUF file (of version 2 or later, little-endian).
    """
    found: dict[str, Value] = {}
    with file.open("rb") as stream:
        if _bytes(stream, 4) != b"GGUF" or not 2 <= int(_scalar(stream, "I")) < 1 << 16:
            raise ValueError("it does not begin like one")
        _scalar(stream, "Q")  # how many tensors there are
        for _ in range(int(_scalar(stream, "Q"))):
            name = _text(stream)
            value = _value(stream, int(_scalar(stream, "I")))
            if value is not None:
                found[name] = value
    return found


def _value(stream: BinaryIO, kind: int) -> Value | None:
    """The next value; None after skipping an array."""
    if kind in _SCALARS:
        return _scalar(stream, _SCALARS[kind])
    if kind == _TEXT:
        return _text(stream)
    if kind != _ARRAY:
        raise ValueError(f"it has a value of the unknown kind {kind}")
    of, count = int(_scalar(stream, "I")), int(_scalar(stream, "Q"))
    if of in _SCALARS:
        stream.seek(count * struct.calcsize(_SCALARS[of]), 1)
    else:
        for _ in range(count):
            _value(stream, of)
    return None


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
