"""What a model folder must hold before anyone loads it, and what it says about itself.

The decision: look before loading. Weights are safetensors only, because other formats can run code when opened; headers
are read, values are not, so a folder of any size is checked at once and the error names the file.
"""

import json
from math import prod
from pathlib import Path
from typing import Any

from tunesmith.errors import ModelError
from tunesmith.models.context import NO_LIMIT, context_length
from tunesmith.models.fingerprint import INDEX, weight_files, weights_sha256
from tunesmith.models.quiet import quiet
from tunesmith.models.safetensors_header import header

PICKLES = ("*.bin", "*.pt", "*.pth", "*.ckpt", "*.pkl")


def is_adapter(folder: Path) -> bool:
    """Whether the folder holds a PEFT adapter (which needs its base) and not a whole model."""
    return (folder / "adapter_config.json").is_file() and not (folder / "config.json").is_file()


def verify(folder: Path) -> None:
    """Nothing, if `folder` holds a configuration and whole safetensors weights.

    Raises:
        ModelError: what is missing or broken, what was found instead, and what to do.
    """
    if not is_adapter(folder) and not (folder / "config.json").is_file():
        raise ModelError(f"{folder}: is no model folder: config.json is missing. {_found(folder)}")
    if (folder / "config.json").is_file() and (folder / "adapter_config.json").is_file():
        raise ModelError(
            f"{folder}: holds both config.json and adapter_config.json, so it is a model to one tool and an adapter to "
            "another. Move one of the two, with its weights, to a folder of its own."
        )
    weights = weight_files(folder)
    if not weights:
        raise ModelError(f"{folder}: holds no safetensors weights. {_found(folder)}{_pickle_advice(folder)}")
    missing = [file.name for file in weights if not file.is_file()]
    if missing:
        raise ModelError(f"{folder}: {INDEX} names {', '.join(missing)}, which is not there. Fetch it again.")
    for file in weights:
        tensor_shapes(file)


def describe(folder: Path) -> dict[str, str | int | bool | None]:
    """What the model or adapter in `folder` is, fact by fact: sizes from its weights, the rest from its configuration.

    A `context` of None means that the model names no limit.
    """
    verify(folder)
    tensors = [tensor for file in weight_files(folder) for tensor in tensor_shapes(file).values()]
    about = _about_adapter(folder) if is_adapter(folder) else _about_model(folder)
    return {
        "folder": str(folder),
        **about,
        "parameters": sum(prod(shape) for _, shape in tensors),
        "dtype": "+".join(sorted({dtype for dtype, _ in tensors})),
        "chat_template": has_chat_template(folder),
        "weights_sha256": weights_sha256(folder),
    }


def _about_model(folder: Path) -> dict[str, str | int | bool | None]:
    from transformers import AutoConfig

    try:
        with quiet():
            config = AutoConfig.from_pretrained(folder, trust_remote_code=False)
    except (OSError, ValueError, KeyError) as error:
        raise ModelError(f"{folder / 'config.json'}: is not understood: {error}") from error
    context = context_length(config)
    return {
        "architecture": next(iter(config.architectures or []), config.model_type),
        "context": None if context == NO_LIMIT else context,
        "vocabulary": config.get_text_config().vocab_size,
    }


def _about_adapter(folder: Path) -> dict[str, str | int | bool | None]:
    config = read_json(folder / "adapter_config.json")
    named = {"base": "base_model_name_or_path", "revision": "revision", "rank": "r", "alpha": "lora_alpha"}
    return {
        "architecture": f"{config.get('peft_type')} adapter",
        **{ours: config.get(name) for ours, name in named.items()},
    }


def has_chat_template(folder: Path) -> bool:
    """Whether a chat template lies in the folder, as a file or inside tokenizer_config.json."""
    settings = folder / "tokenizer_config.json"
    return (folder / "chat_template.jinja").is_file() or bool(
        settings.is_file() and read_json(settings).get("chat_template")
    )


def tensor_shapes(file: Path) -> dict[str, tuple[str, tuple[int, ...]]]:
    """(dtype, shape) of each tensor in a safetensors file, from its header.

    Raises:
        ModelError: the header contradicts itself or the file.
    """
    return {name: (tensor.dtype, tensor.shape) for name, tensor in header(file).items()}


def read_json(path: Path) -> dict[str, Any]:
    """The JSON object in a file.

    Raises:
        ModelError: it is not JSON, or not an object.
    """
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ModelError(f"{path}: cannot be read as JSON ({error}). Fetch or copy it again.") from error
    if not isinstance(value, dict):
        raise ModelError(f"{path}: should hold a JSON object, not {type(value).__name__}.")
    return value


def write_json(path: Path, value: dict[str, Any]) -> None:
    """`value` in a file, indented, for people too."""
    path.write_text(json.dumps(value, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def _found(folder: Path) -> str:
    paths = sorted(folder.iterdir())
    if not paths:
        return "The folder is empty."
    names = ", ".join(path.name for path in paths[:12]) + (f" and {len(paths) - 12} more" if len(paths) > 12 else "")
    meant = [path for path in paths if path.suffix == ".gguf" or (path / "config.json").is_file() or is_adapter(path)]
    return f"Found: {names}." + (f" Perhaps you mean {meant[0]}." if meant else "")


def _pickle_advice(folder: Path) -> str:
    if not any(path for pattern in PICKLES for path in folder.glob(pattern)):
        return ""
    return (
        " Pickled weights can run code when they are opened, so they are refused. Convert them on a machine that may "
        "trust them: AutoModelForCausalLM.from_pretrained(FOLDER).save_pretrained(NEW_FOLDER), and copy the tokenizer."
    )
