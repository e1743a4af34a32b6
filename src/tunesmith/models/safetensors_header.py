"""The header of a safetensors file, read without trusting it.

The decision: a file made by a stranger is measured before a byte is set aside for it. The header may be no longer than
the file, no name may stand twice (readers differ in which one they take), and the tensors must cover the data exactly:
no overlap, no gap, each as long as its dtype and shape say.
Format: https://github.com/huggingface/safetensors#format
"""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from tunesmith.errors import ModelError

LONGEST_HEADER = 100_000_000
"""Bytes; the limit of the safetensors library too."""
_BITS = {
    **dict.fromkeys(("F64", "I64", "U64", "C64"), 64),
    **dict.fromkeys(("F32", "I32", "U32"), 32),
    **dict.fromkeys(("F16", "BF16", "I16", "U16"), 16),
    **dict.fromkeys(("I8", "U8", "BOOL", "F8_E4M3", "F8_E5M2", "F8_E8M0"), 8),
    **dict.fromkeys(("F6_E2M3", "F6_E3M2"), 6),
    "F4": 4,
}
_FIELDS = {"dtype", "shape", "data_offsets"}


class Stored(NamedTuple):
    """A tensor in a file: its dtype as safetensors writes it, its shape, and its bytes `start:end` of the file."""

    dtype: str
    shape: tuple[int, ...]
    start: int
    end: int


def header(file: Path) -> dict[str, Stored]:
    """The tensors of a safetensors file by name, in the order of the header.

    Raises:
        ModelError: the file is not whole, or its header contradicts itself or the file.
    """
    try:
        size = file.stat().st_size
        with file.open("rb") as stream:
            length = int.from_bytes(stream.read(8), "little")
            if size < 8 or length > min(LONGEST_HEADER, size - 8):
                raise ValueError(f"its header should have {length:,} bytes, and the file has {size:,}")
            found = json.loads(stream.read(length).decode(), object_pairs_hook=_each_once)
        if not isinstance(found, dict):
            raise ValueError("its header is no object")
        found.pop("__metadata__", None)
        tensors = {name: _stored(name, info, 8 + length, size) for name, info in found.items()}
        _require_cover(tensors, 8 + length, size)
    except (OSError, ValueError, RecursionError) as error:
        raise ModelError(f"{file}: is not a whole safetensors file ({error}). Fetch or copy it again.") from error
    return tensors


def _each_once(pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    named = dict(pairs)
    if len(named) < len(pairs):
        raise ValueError("a name stands in its header twice")
    return named


def _stored(name: str, info: object, begin: int, size: int) -> Stored:
    if not isinstance(info, dict) or set(info) != _FIELDS or str(info["dtype"]) not in _BITS:
        raise ValueError(f"what it says of {name[:80]!r} is not understood")
    shape, offsets = info["shape"], info["data_offsets"]
    if not (_whole_numbers(shape) and _whole_numbers(offsets) and len(offsets) == 2 and len(shape) <= 64):
        raise ValueError(f"shape or place of {name[:80]!r} are no whole numbers")
    start, end = begin + offsets[0], begin + offsets[1]
    if not start <= end <= size:
        raise ValueError(f"{name[:80]!r} should end at byte {end:,}, and the file has {size:,}")
    bits = _BITS[info["dtype"]]
    for length in shape:
        bits *= length
    if bits != 8 * (end - start):
        raise ValueError(f"{name[:80]!r} has {end - start:,} bytes, which is not what its shape and dtype need")
    return Stored(info["dtype"], tuple(shape), start, end)


def _whole_numbers(value: object) -> bool:
    # 2**63 is beyond any file; larger numbers would only cost time.
    return isinstance(value, list) and all(type(number) is int and 0 <= number < 1 << 63 for number in value)


def _require_cover(tensors: dict[str, Stored], begin: int, size: int) -> None:
    at = begin
    for name, tensor in sorted(tensors.items(), key=lambda item: (item[1].start, item[1].end)):
        if tensor.start != at:
            raise ValueError(f"{name[:80]!r} overlaps another tensor, or a gap stands before it")
        at = tensor.end
    if at != size:
        raise ValueError(f"its tensors end at byte {at:,}, and the file has {size:,}")
