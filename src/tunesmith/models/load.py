"""A model folder becomes a network in memory.

The decision: one way in. The dtype and the attention are said by the caller, remote code is never run, and transformers
stays silent: what is wrong with a folder is raised as an error that names it.
"""

from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForCausalLM, PreTrainedModel

from tunesmith.errors import ModelError, UsageError
from tunesmith.models import adapters
from tunesmith.models.folder import is_adapter, read_json
from tunesmith.models.quiet import quiet
from tunesmith.models.sources import Source, resolve


def load_model(folder: Path, *, dtype: torch.dtype, attention: str | None = None) -> PreTrainedModel:
    """The causal language model in `folder`, with its weights in `dtype`; of an adapter, its base with the adapter on.

    `attention` is a name of transformers ("eager", "sdpa"); by default the one that transformers takes for the family,
    because some compute something else, or nothing, under another.

    It is in evaluation mode, and stays so while it is trained: fine-tuning uses no dropout of the base unless a recipe
    asks for it, and an adapter applies its own.

    Raises:
        ModelError: transformers cannot build it, tensors are missing or have another shape, or an adapter's base is not
            to be found or is another than it was trained on.
    """
    if is_adapter(folder):
        model = load_model(base_of(folder).folder, dtype=dtype, attention=attention)
        adapters.load_adapter(model, folder)
        return model
    try:
        with quiet():
            loaded: Any = AutoModelForCausalLM.from_pretrained(
                folder, dtype=dtype, attn_implementation=attention, trust_remote_code=False, use_safetensors=True,
                output_loading_info=True,
            )  # fmt: skip
    except (OSError, ValueError, KeyError, RuntimeError, ImportError) as error:
        raise ModelError(f"{folder}: the model cannot be loaded: {error}") from error
    network: PreTrainedModel = loaded[0]
    _complete(folder, loaded[1])
    network.eval()  # type: ignore[no-untyped-call]
    return network


def base_of(folder: Path) -> Source:
    """The base model of the adapter in `folder`: where its configuration says, or by the name that it had.

    Raises:
        ModelError: it is not to be found, or its fingerprint is not the one that the adapter was trained on.
    """
    config = read_json(folder / adapters.CONFIG)
    known = read_json(folder / adapters.BASE) if (folder / adapters.BASE).is_file() else {}
    named = str(config.get("base_model_name_or_path"))
    lost = Path(named).is_absolute() and not Path(named).is_dir()
    try:
        source = resolve(known.get("name", named) if lost else named, revision=config.get("revision"))
    except UsageError as error:
        raise ModelError(f"{folder}: the base model of this adapter is not to be found: {error}") from error
    if known.get("fingerprint", source.fingerprint) != source.fingerprint:
        raise ModelError(
            f"{folder}: this adapter was trained on another model than the one in {source.folder} "
            f"(fingerprint {known['fingerprint'][:12]}…, found {source.fingerprint[:12]}…)."
        )
    return source


def _complete(folder: Path, report: dict[str, Any]) -> None:
    """Refuse what transformers would fill with random numbers."""
    missing = sorted(report.get("missing_keys", ()))
    mismatched = sorted(str(key) for key in report.get("mismatched_keys", ()))
    if missing or mismatched:
        names = ", ".join((missing + mismatched)[:5])
        raise ModelError(
            f"{folder}: {len(missing) + len(mismatched)} tensors are missing or have another shape than config.json "
            f"says ({names}). The folder is incomplete or mixed from two models; fetch it again."
        )
