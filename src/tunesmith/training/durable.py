"""Files that survive a crash: written whole and on the disk, or not there.

The decision: a name is given only to finished bytes. Whatever is written goes under a temporary name, is fsynced,
is renamed, and the folder that holds the name is fsynced.
"""

import errno
import hashlib
import json
import os
import re
from collections.abc import Iterable, Mapping
from io import FileIO
from pathlib import Path

import torch
from pydantic import JsonValue
from torch import Tensor

from tunesmith.errors import TrainingError

CHUNK = 4 * 2**20  # bytes hashed and written at once

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

_CAUSES = {
    errno.ENOSPC: "the disk is full. Free some space",
    errno.EDQUOT: "your disk quota is used up. Free some space",
    errno.EFBIG: "it is larger than files may be here. Raise the limit (ulimit -f), or move the run to another disk",
    errno.EROFS: "the file system is read-only. Make it writable",
    errno.EACCES: "it may not be written to. Change its permissions",
    errno.EPERM: "it may not be written to. Change its permissions",
    errno.EIO: "the disk reports an error of the device. Check it, or move the run to another disk",
}


def cause(error: Exception) -> str:
    """Why the system refused to write, and the remedy, as the middle of a sentence."""
    if isinstance(error, OSError):
        return _CAUSES.get(error.errno or 0, f"{error.strerror or error}. Remove the cause")
    # The safetensors library passes on the system's number in its text alone.
    number = re.search(r"os error (\d+)", str(error))
    return _CAUSES.get(int(number[1]) if number else 0, f"{error}. Remove the cause")


def write_text(path: Path, text: str) -> None:
    """`path` holds `text` (UTF-8), or what it held before if anything fails on the way.

    Raises:
        TrainingError: the disk refused.
    """
    partial = path.with_name(f".{path.name}.partial")
    try:
        write_synced(partial, [text.encode()])
        partial.replace(path)
        sync_folder(path.parent)
    except OSError as error:
        partial.unlink(missing_ok=True)
        raise TrainingError(
            f"{path}: cannot be written: {cause(error)}, and go on from the last checkpoint."
        ) from error


def write_json(path: Path, value: JsonValue) -> None:
    """`path` holds `value` as JSON for people (indented, keys as given), or what it held before."""
    write_text(path, json_text(value))


def json_text(value: JsonValue) -> str:
    """`value` as indented JSON with a final newline; refuses NaN, which JSON does not have."""
    return json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n"


def write_synced(path: Path, pieces: Iterable[bytes | memoryview]) -> str:
    """The sha256 (hex) of the pieces, which are now the content of `path` and on the disk."""
    digest = hashlib.sha256()
    with path.open("wb", buffering=0) as file:
        for piece in pieces:
            digest.update(piece)
            write_all(file, piece)
        os.fsync(file.fileno())
    return digest.hexdigest()


def write_all(file: FileIO, piece: bytes | memoryview) -> None:
    """All of `piece` is written, however little of it an unbuffered write takes at once."""
    rest = memoryview(piece)
    while rest:
        rest = rest[file.write(rest) :]


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
        yield from (data[start : start + CHUNK] for start in range(0, len(data), CHUNK))


def sha256_of(path: Path) -> str:
    """The sha256 (hex) of a file's content."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def sync_folder(folder: Path) -> None:
    """The names in `folder` are on the disk."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
