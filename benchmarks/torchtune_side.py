"""torchtune's side of a comparison: its model, adapters and loss in the loop of its recipes, step by step.

Runs in an environment with torchtune; it needs nothing of Tunesmith. torchtune has no builder for SmolLM2: this is its
Llama 2 with that model's sizes, base of rotation and tied output matrix, in the loop for a single device. Recipes for
models of this size come without checkpointing of activations and without compilation, and so it stays; rows are padded
to the longest of the batch, as its collation does.
"""

import json
import sys
from pathlib import Path
from typing import Any

import torch
from loop import Step, run
from safetensors.torch import load_file
from torchtune.data import padded_collate_sft
from torchtune.models.convert_weights import hf_to_tune
from torchtune.models.llama2 import llama2, lora_llama2
from torchtune.modules import RotaryPositionalEmbeddings, TiedLinear
from torchtune.modules.loss import CEWithChunkedOutputLoss
from torchtune.modules.peft import get_adapter_params, set_trainable_params
from torchtune.training import scale_grads

EVERYWHERE = {"lora_attn_modules": ["q_proj", "k_proj", "v_proj", "output_proj"], "apply_lora_to_mlp": True}


def loaded(job: dict[str, Any]) -> Any:
    """The model with its weights, from the folder that both sides use; with adapters on all matrices if asked for."""
    folder = Path(job["folder"])
    known = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    rotation = known.get("rope_parameters") or {"rope_type": "default", **known, **(known.get("rope_scaling") or {})}
    if known["model_type"] != "llama" or rotation["rope_type"] != "default" or not known["tie_word_embeddings"]:
        sys.exit(f"{folder.name}: this side knows Llama's layers with plain rotation and a tied output matrix alone")
    heads, width = known["num_attention_heads"], known["hidden_size"]
    sizes = {
        "vocab_size": known["vocab_size"], "num_layers": known["num_hidden_layers"], "num_heads": heads,
        "num_kv_heads": known["num_key_value_heads"], "embed_dim": width, "norm_eps": known["rms_norm_eps"],
        "max_seq_len": known["max_position_embeddings"], "intermediate_dim": known["intermediate_size"],
    }  # fmt: skip
    lora = job["method"] == "lora"
    model = lora_llama2(**EVERYWHERE, **sizes, lora_rank=16, lora_alpha=32) if lora else llama2(**sizes)
    rope = RotaryPositionalEmbeddings(width // heads, sizes["max_seq_len"], base=rotation["rope_theta"])
    for layer in model.layers:
        layer.attn.pos_embeddings = rope
    del model.output
    model.output = TiedLinear(model.tok_embeddings)
    weights = {k: w.float() for file in folder.glob("*.safetensors") for k, w in load_file(file).items()}
    found = model.load_state_dict(hf_to_tune(weights, heads, sizes["num_kv_heads"], width), strict=False)
    if found.unexpected_keys or any("lora" not in name for name in found.missing_keys):
        sys.exit(f"{folder.name}: its weights do not fit torchtune's model: {found}")
    if lora:
        set_trainable_params(model, get_adapter_params(model))
    return model


def micro_batches(rows: list[dict[str, Any]], micro: int) -> list[dict[str, torch.Tensor]]:
    """The rows of a step, in as many parts as are computed at once."""
    samples = [
        {"tokens": r["ids"], "labels": [i if w > 0 else -100 for i, w in zip(r["ids"], r["weights"], strict=True)]}
        for r in rows
    ]
    return [padded_collate_sft(samples[start : start + micro]) for start in range(0, len(samples), micro)]


def built(job: dict[str, Any]) -> Step:
    """The step of its recipes for a single device."""
    model, losses = loaded(job), CEWithChunkedOutputLoss()
    model.set_num_output_chunks(losses.num_output_chunks)
    learned = [p for p in model.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(learned, lr=1e-5, weight_decay=0.0, fused=True)

    def step(rows: list[dict[str, Any]]) -> float:
        total, targets = torch.zeros(()), torch.zeros(())
        for part in micro_batches(rows, job["peer_micro"]):
            labels = torch.hstack((part["labels"][..., 1:], torch.full((len(part["labels"]), 1), -100)))
            count = (labels != -100).sum()
            loss = losses(model(part["tokens"]), labels) * count
            loss.backward()
            total, targets = total + loss.detach(), targets + count
        scale_grads(model, 1 / targets)
        torch.nn.utils.clip_grad_norm_(learned, max_norm=1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        return (total / targets).item()

    return step


if __name__ == "__main__":
    run("torchtune", built)
