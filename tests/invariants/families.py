"""Tiny random models of the families that transformers builds, with windows shorter than the test's examples."""

from collections.abc import Callable
from typing import Any

import torch
import transformers as t

BASE: dict[str, Any] = {
    "vocab_size": 128, "hidden_size": 64, "intermediate_size": 96, "num_hidden_layers": 3, "num_attention_heads": 4,
    "num_key_value_heads": 2, "max_position_embeddings": 128, "pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2,
}  # fmt: skip
WINDOW = {"sliding_window": 8}
HEAD = {"head_dim": 16}
EXPERTS = {"num_experts_per_tok": 2}
_OLD = {"vocab_size": 128, "bos_token_id": 1, "eos_token_id": 2}
_LONG_ROPE = {
    "rope_type": "longrope", "rope_theta": 10000.0, "short_factor": [1.0] * 8,
    "long_factor": [2.0 + i for i in range(8)], "original_max_position_embeddings": 16,
}  # fmt: skip

BY_FOREST: dict[str, Callable[[], Any]] = {
    "Llama": lambda: t.LlamaConfig(**BASE),
    "Mistral with a window": lambda: t.MistralConfig(**BASE, **WINDOW),
    "Qwen2": lambda: t.Qwen2Config(**BASE),
    "Qwen2 with a window": lambda: t.Qwen2Config(**BASE, use_sliding_window=True, max_window_layers=1, **WINDOW),
    "Qwen3": lambda: t.Qwen3Config(**BASE, **HEAD),
    "Qwen3-MoE": lambda: t.Qwen3MoeConfig(**BASE, **HEAD, **EXPERTS, num_experts=4, moe_intermediate_size=32),
    "Gemma 2": lambda: t.Gemma2Config(**BASE, **HEAD, **WINDOW, query_pre_attn_scalar=16),
    "Gemma 3": lambda: t.Gemma3TextConfig(**BASE, **HEAD, **WINDOW, query_pre_attn_scalar=16),
    "GPT-2": lambda: t.GPT2Config(**_OLD, n_embd=64, n_layer=3, n_head=4, n_positions=128),
    "GPT-NeoX": lambda: t.GPTNeoXConfig(**{k: v for k, v in BASE.items() if k != "num_key_value_heads"}),
    "Phi": lambda: t.PhiConfig(**BASE),
    "Phi-3": lambda: t.Phi3Config(**BASE),
    "OLMo-2": lambda: t.Olmo2Config(**BASE),
    "SmolLM3": lambda: t.SmolLM3Config(**BASE),
    "gpt-oss": lambda: t.GptOssConfig(**BASE, **HEAD, **WINDOW, **EXPERTS, num_local_experts=4),
    "Mixtral": lambda: t.MixtralConfig(**BASE, **EXPERTS, num_local_experts=4),
    "Granite": lambda: t.GraniteConfig(**BASE, logits_scaling=4.0),
    "Cohere 2": lambda: t.Cohere2Config(**BASE, **WINDOW),
    "OPT": lambda: t.OPTConfig(
        **_OLD, hidden_size=64, ffn_dim=96, num_hidden_layers=3, num_attention_heads=4, max_position_embeddings=128,
        word_embed_proj_dim=64, pad_token_id=0,
    ),
    "StarCoder 2": lambda: t.Starcoder2Config(**BASE, **WINDOW),
    "GLM-4": lambda: t.Glm4Config(**BASE, **HEAD),
}  # fmt: skip
"""Families that compute a forest exactly."""

ALONE: dict[str, Callable[[], Any]] = {
    "Falcon": lambda: t.FalconConfig(**_OLD, hidden_size=64, num_hidden_layers=3, num_attention_heads=4),
    "Bloom": lambda: t.BloomConfig(**_OLD, hidden_size=64, n_layer=3, n_head=4),
    "StableLM": lambda: t.StableLmConfig(**BASE),
    "LFM2 with convolutions": lambda: t.Lfm2Config(**BASE, layer_types=["conv", "full_attention", "conv"]),
    "Phi-3 with LongRoPE": lambda: t.Phi3Config(
        **BASE, original_max_position_embeddings=16, rope_parameters=_LONG_ROPE
    ),
    "Mamba": lambda: t.MambaConfig(vocab_size=128, hidden_size=64, num_hidden_layers=3, state_size=8),
}
"""Families that must be run one example at a time."""


def build(config: Any) -> Any:
    """A model of the configuration with weights large enough that a leak between examples cannot hide."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = t.AutoModelForCausalLM.from_config(config).eval()
        for parameter in model.parameters():
            if parameter.ndim >= 2:
                torch.nn.init.normal_(parameter, std=0.1)
    return model
