"""Tiny model folders and GGUF files, made from a seed."""

from pathlib import Path
from typing import Any

import gguf
import numpy as np
import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

PIECES = ["<|end|>", "<|start|>", "Ġ", *"abcdefghij0123456789", "Ċ", "ĠĠ", "ab", "Ġa"]
MERGES = [("Ġ", "Ġ"), ("a", "b"), ("Ġ", "a")]
VOCABULARY = 32
CONFIG: dict[str, Any] = {
    "vocab_size": VOCABULARY, "hidden_size": 32, "intermediate_size": 32, "num_hidden_layers": 2,
    "num_attention_heads": 2, "max_position_embeddings": 64, "eos_token_id": 0, "bos_token_id": 1,
}  # fmt: skip


def model(**changes: Any) -> Any:
    """A random Llama of a few thousand parameters."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return LlamaForCausalLM(LlamaConfig(**{**CONFIG, **changes})).eval()


def tokenizer() -> PreTrainedTokenizerFast:
    """A byte-level tokenizer of a few pieces, with a chat template."""
    backend = Tokenizer(models.BPE({piece: index for index, piece in enumerate(PIECES)}, MERGES))
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    fast = PreTrainedTokenizerFast(tokenizer_object=backend, eos_token="<|end|>", bos_token="<|start|>")
    fast.chat_template = "{% for m in messages %}<|start|>{{ m.content }}<|end|>{% endfor %}"
    return fast


def folder(path: Path, **changes: Any) -> Path:
    """A whole model folder at `path`."""
    model(**changes).save_pretrained(path)
    tokenizer().save_pretrained(path)
    return path


def gguf_file(path: Path, *, rule: str = "smollm") -> Path:
    """The same model as a GGUF file in single precision, whose text is split by `rule`."""
    llama = model(tie_word_embeddings=True)
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_context_length(64)
    writer.add_embedding_length(32)
    writer.add_block_count(2)
    writer.add_feed_forward_length(32)
    writer.add_head_count(2)
    writer.add_head_count_kv(2)
    writer.add_layer_norm_rms_eps(1e-6)
    writer.add_rope_freq_base(10000.0)
    writer.add_vocab_size(VOCABULARY)
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre(rule)
    pieces = [*PIECES, *(f"[PAD{index}]" for index in range(len(PIECES), VOCABULARY))]
    writer.add_token_list(pieces)
    writer.add_token_types([3, 3] + [1] * (len(pieces) - 2))
    writer.add_token_merges([f"{a} {b}" for a, b in MERGES])
    writer.add_eos_token_id(0)
    writer.add_bos_token_id(1)
    writer.add_chat_template(tokenizer().chat_template)
    for name, tensor in llama.model.named_parameters():
        writer.add_tensor(_gguf_name(name), _gguf_values(name, tensor.detach().numpy()))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def _gguf_name(name: str) -> str:
    for ours, theirs in {
        "embed_tokens": "token_embd", "layers.": "blk.", "self_attn.q_proj": "attn_q", "self_attn.k_proj": "attn_k",
        "self_attn.v_proj": "attn_v", "self_attn.o_proj": "attn_output", "mlp.gate_proj": "ffn_gate",
        "mlp.up_proj": "ffn_up", "mlp.down_proj": "ffn_down", "post_attention_layernorm": "ffn_norm",
        "input_layernorm": "attn_norm",
    }.items():  # fmt: skip
        name = name.replace(ours, theirs)
    return "output_norm.weight" if name == "norm.weight" else name


def _gguf_values(name: str, values: Any) -> Any:
    """Llama's query and key rows stand in another order in GGUF files (the two halves of a head interleaved)."""
    if "q_proj" not in name and "k_proj" not in name:
        return values
    heads, (rows, columns) = 2, values.shape
    return np.ascontiguousarray(
        values.reshape(heads, 2, rows // heads // 2, columns).swapaxes(1, 2).reshape(rows, columns)
    )
