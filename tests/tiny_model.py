"""A whole model folder made in code from a seed: a small Llama with a byte-level tokenizer and a ChatML template."""

import json
from pathlib import Path

import torch
from transformers import LlamaConfig, LlamaForCausalLM
from unit.tokens.tiny import byte_level, saved

WORDS = ("apple", "pear", "plum", "fig", "lime", "kiwi", "date", "nut", "rye", "oat")


def tiny_model(folder: Path, *, context: int = 512, layers: int = 3) -> Path:
    """The folder, with config, weights, tokenizer and chat template."""
    backend = byte_level()
    size = backend.get_vocab_size()
    end = backend.token_to_id("<|im_end|>")
    config = LlamaConfig(
        vocab_size=size, hidden_size=32, intermediate_size=64, num_hidden_layers=layers, num_attention_heads=4,
        num_key_value_heads=2, max_position_embeddings=context, bos_token_id=None, eos_token_id=end,
        pad_token_id=None, tie_word_embeddings=True,
    )  # fmt: skip
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = LlamaForCausalLM(config)
    saved(folder, backend)
    model.save_pretrained(folder)
    return folder


def chat_file(path: Path, *, count: int = 24, start: int = 0) -> Path:
    """A JSONL file of short conversations with a shared system message."""
    rows = []
    for i in range(start, start + count):
        word = WORDS[i % len(WORDS)]
        messages = [
            {"role": "system", "content": "Answer with the length of the word."},
            {"role": "user", "content": f"{word} {i}"},
            {"role": "assistant", "content": str(len(word))},
        ]
        rows.append(json.dumps({"messages": messages}))
    path.write_text("\n".join(rows) + "\n", encoding="utf-8")
    return path
