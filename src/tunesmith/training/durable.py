"""Files that survive a crash: written whole and on the disk, or not there.

The decision: a name is given only to finished bytes. Whatever is written goes under a temporary name, is fsynced,
is renamed, and the folder that holds the name is fsynced. What a resumed run can make anew is sealed with a sum, and
made anew where the sum is wrong.
"""

import hashlib
import json
from collections.abc import Iterable, Mapping
from pathlib import Path

import torch
from pydantic import JsonValue
from torch import Tensor

from tunesmith import disk
from tunesmith.errors import TrainingError

# The names of the safetensors format: https://github.com/huggingface/safetensors#format
_DTYPES = {
    torch.float64: "F64",
    torch.float32: "F32",
    torch.float16: "F16",
    torch.bfloat16: "BF16",
    torch.int64: "I64",
    torch.int32: "I32",
    torch.int16: "I16",
    torch.int8: "I8",
    torch.uint8: "U8",
    torch.bool: "BOOL",
}


def write_text(path: Path, text: str) -> None:
    """`path` holds `text` (UTF-8), or what it held before if anything fails on the way.

    Raises:
        TrainingError: the disk refused.
    """
    partial = path.with_name(f".{path.name}.partial")
    try:
        disk.write_synced(partial, [text.encode()])
        partial.replace(path)
        disk.sync(path.parent)
    except OSError as error:
        partial.unlink(missing_ok=True)
        raise TrainingError(
            f"{path}: cannot be written: {disk.cause(error)}, and go on from the last checkpoint."
        ) from error


def write_json(path: Path, value: JsonValue) -> None:
    """`path` holds `value` as JSON for people (indented, keys as given), or what it held before."""
    write_text(path, json_text(value))


def write_sealed(path: Path, value: JsonValue) -> None:
    """`path` holds `value` as JSON with its sum, so that `read_sealed` knows whether it still does."""
    write_json(path, {"sha256": _sum(value), "value": value})


def read_sealed(path: Path) -> JsonValue:
    """The value that `write_sealed` left in `path`; None where there is none, or it is no longer what was written."""
    try:
        found = json.loads(path.read_bytes())
        return found["value"] if found["sha256"] == _sum(found["value"]) else None
    except (OSError, ValueError, LookupError, TypeError):
        return None


def _sum(value: JsonValue) -> str:
    return hashlib.sha256(json_text(value).encode()).hexdigest()


def json_text(value: JsonValue) -> str:
    """`value` as indented JSON with a final newline; refuses NaN, which JSON does not have."""
    return json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n"


def safetensors_pieces(tensors: Mapping[str, Tensor]) -> Iterable[bytes | memoryview]:
    """A safetensors file, piece by piece, reading each tensor where it lies: no second copy of the weights is made.

    Only a tensor on another device, or not contiguous, is copied, and one at a time.
    """
    # Wider types first, so that every tensor starts aligned to its own width.
    order = sorted(tensors, key=lambda name: (-tensors[name].element_size(), name))
    header: dict[str, JsonValue] = {}
    end = 0
    for name in order:
        start, end = end, end + tensors[name].nbytes
        shape: list[JsonValue] = list(tensors[name].shape)
        header[name] = {"dtype": _DTYPES[tensors[name].dtype], "shape": shape, "data_offsets": [start, end]}
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    yield len(text).to_bytes(8, "little") + text
    for name in order:
        yield from _bytes_of(tensors[name])


def _bytes_of(tensor: Tensor) -> Iterable[memoryview]:
    flat = tensor.detach().cpu().contiguous().reshape(-1)
    if flat.numel():
        data = flat.view(torch.uint8).numpy().data
        yield from (data[start : start + disk.CHUNK] for start in range(0, len(data), disk.CHUNK))
