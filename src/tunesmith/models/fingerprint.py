"""What identifies a model: its weights by value, and with them the files that change what it computes or reads.

The decision: hash values, not files. Two folders with the same tensors have the same `weights_sha256` however the
tensors are spread over files, so a copy, a re-sharded upload and a conversion made twice are recognised as one.
"""

import hashlib
import json
from pathlib import Path

from tunesmith.errors import ModelError
from tunesmith.models.safetensors_header import header

MEANING = ("config.json", "tokenizer.json", "tokenizer_config.json", "chat_template.jinja", "adapter_config.json")
"""Files beside the weights that change what a model computes or reads."""

INDEX = "model.safetensors.index.json"
_CHUNK = 1 << 22


def weight_files(folder: Path) -> list[Path]:
    """The safetensors files that make the model: those of the index, else model.safetensors, else all there are.

    Some models lie twice in their folder, in the layout of their makers beside the one of transformers.
    """
    if (folder / INDEX).is_file():
        try:
            named = set(json.loads((folder / INDEX).read_text(encoding="utf-8"))["weight_map"].values())
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise ModelError(f"{folder / INDEX}: cannot be read ({error}). Fetch or copy it again.") from error
        strays = sorted(str(name) for name in named if name == ".." or Path(str(name)).name != name)
        if strays:
            raise ModelError(
                f"{folder / INDEX}: names {strays[0]!r}, which is no file of this folder. Do not trust it."
            )
        return [folder / name for name in sorted(named)]
    whole = folder / "model.safetensors"
    return [whole] if whole.is_file() else sorted(folder.glob("*.safetensors"))


def weights_sha256(folder: Path) -> str:
    """SHA-256 (hex) over all tensors of the model in `folder`, in order of their names.

    For each tensor, in byte order of its UTF-8 name: the name, one NUL byte; the dtype as safetensors writes it
    (`F32`, `BF16`, …), one NUL byte; the shape in decimal, joined by commas, one NUL byte; then its values,
    little-endian, row-major, exactly as they stand in the file. Anyone can recompute it from that sentence and
    https://github.com/huggingface/safetensors#format.

    Raises:
        ModelError: there is no safetensors file, or one has a broken header.
    """
    tensors = sorted(
        (name.encode(), file, info) for file in weight_files(folder) for name, info in header(file).items()
    )
    if not tensors:
        raise ModelError(f"{folder}: holds no safetensors weights.")
    digest = hashlib.sha256()
    for name, file, (dtype, shape, start, end) in tensors:
        digest.update(b"\0".join([name, dtype.encode(), ",".join(map(str, shape)).encode(), b""]))
        with file.open("rb") as stream:
            stream.seek(start)
            for offset in range(start, end, _CHUNK):
                digest.update(stream.read(min(_CHUNK, end - offset)))
    return digest.hexdigest()


def fingerprint(folder: Path) -> str:
    """SHA-256 (hex) of a model: its `weights_sha256` and the files beside it that give the weights their meaning."""
    lines = [f"weights {weights_sha256(folder)}"]
    lines += [f"{name} {file_sha256(folder / name)}" for name in MEANING if (folder / name).is_file()]
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def file_sha256(path: Path) -> str:
    """SHA-256 (hex) of a file's bytes."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
