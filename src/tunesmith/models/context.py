"""What a model folder's configuration says before the model is loaded: its shapes, its dtype, how far it looks back.

The decision: one question, one place. Families name the limit differently, and some have none. torch and transformers
are imported where they are needed, because much that is asked of a model needs neither.
"""

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch
    from transformers import PretrainedConfig

NO_LIMIT = 2**31 - 1
"""Positions are int32 everywhere, so this is as far as anyone can count."""
_NAMES = ("max_position_embeddings", "n_positions", "n_ctx", "seq_length", "max_sequence_length", "max_seq_len")


def read_config(folder: Path) -> "PretrainedConfig":
    """The configuration of the model in `folder`; no code from it is run."""
    from transformers import AutoConfig

    config: PretrainedConfig = AutoConfig.from_pretrained(folder, trust_remote_code=False)
    return config


def stored_dtype(folder: Path) -> "torch.dtype":
    """What the weights in `folder` are stored in, as its configuration says; float32 where it says nothing."""
    import torch

    dtype = read_config(folder).dtype
    return dtype if isinstance(dtype, torch.dtype) else torch.float32


def context_length(config: "PretrainedConfig") -> int:
    """The most tokens that the model can attend over; `NO_LIMIT` where its configuration names none (Mamba, Bloom)."""
    text = config.get_text_config()
    for name in _NAMES:
        value = getattr(text, name, None)
        if isinstance(value, int) and value > 0:
            return value
    return NO_LIMIT
