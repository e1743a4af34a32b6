"""How far a model can look back, as its configuration says it.

The decision: one question, one place. Families name the limit differently, and some have none.
"""

from transformers import PretrainedConfig

NO_LIMIT = 2**31 - 1
"""Positions are int32 everywhere, so this is as far as anyone can count."""
_NAMES = ("max_position_embeddings", "n_positions", "n_ctx", "seq_length", "max_sequence_length", "max_seq_len")


def context_length(config: PretrainedConfig) -> int:
    """The most tokens that the model can attend over; `NO_LIMIT` where its configuration names none (Mamba, Bloom)."""
    text = config.get_text_config()
    for name in _NAMES:
        value = getattr(text, name, None)
        if isinstance(value, int) and value > 0:
            return value
    return NO_LIMIT
