"""A model folder becomes a network in memory.

The decision: one way in. The dtype and the attention are said by the caller, remote code is never run, and transformers
stays silent: what is wrong with a folder is raised as an error that names it.
"""

from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForCausalLM, PretrainedConfig, PreTrainedModel

from tunesmith.errors import ModelError
from tunesmith.models.quiet import quiet

CONTEXT_NAMES = ("max_position_embeddings", "n_positions", "n_ctx", "seq_length", "max_sequence_length", "max_seq_len")
NO_LIMIT = 2**31 - 1
"""Positions are int32 everywhere, so this is as far as anyone can count."""


def load_model(folder: Path, *, dtype: torch.dtype, attention: str = "sdpa") -> PreTrainedModel:
    """The causal language model in `folder`, with its weights in `dtype`.

    It is in evaluation mode, and stays so while it is trained: fine-tuning uses no dropout of the base unless a recipe
    asks for it, and then an adapter applies its own.

    Raises:
        ModelError: transformers cannot build it, or tensors are missing or have another shape.
    """
    try:
        with quiet():
            model, report = AutoModelForCausalLM.from_pretrained(
                folder, dtype=dtype, attn_implementation=attention, trust_remote_code=False, output_loading_info=True
            )
    except (OSError, ValueError, KeyError, RuntimeError, ImportError) as error:
        raise ModelError(f"{folder}: the model cannot be loaded: {error}") from error
    _complete(folder, report)
    network: PreTrainedModel = model.eval()
    return network


def context_length(config: PretrainedConfig) -> int:
    """The most tokens that the model can attend over; `NO_LIMIT` where its configuration names none (Mamba, Bloom)."""
    text = config.get_text_config()
    for name in CONTEXT_NAMES:
        value = getattr(text, name, None)
        if isinstance(value, int) and value > 0:
            return value
    return NO_LIMIT


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
