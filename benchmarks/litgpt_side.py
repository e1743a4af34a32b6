"""LitGPT's side of a comparison: its model, adapters and loss in the loop of its `finetune` commands, step by step.

Runs in an environment with litgpt; it needs nothing of Tunesmith. Rows are padded to the longest of the batch, as its
collation does. LitGPT keeps the output matrix apart from the embeddings, so a full run trains more weights than ours.
"""

import shutil
import tempfile
from pathlib import Path
from typing import Any

import torch
from litgpt import lora
from litgpt.config import Config
from litgpt.data.base import get_sft_collate_fn
from litgpt.model import GPT
from litgpt.scripts.convert_hf_checkpoint import convert_hf_checkpoint
from litgpt.utils import chunked_cross_entropy
from loop import Step, run

NAMES = {"smollm2-135m-instruct": "SmolLM2-135M-Instruct"}
EVERYWHERE = dict.fromkeys(("lora_query", "lora_key", "lora_value", "lora_projection", "lora_mlp"), True)


def loaded(job: dict[str, Any]) -> Any:
    """The model with its weights, from the folder that both sides use; with adapters on all matrices if asked for."""
    name = NAMES[job["model"]]
    with tempfile.TemporaryDirectory() as folder:
        for file in Path(job["folder"]).glob("*"):
            shutil.copy(file, folder)
        convert_hf_checkpoint(Path(folder), model_name=name)
        weights = torch.load(Path(folder) / "lit_model.pth", weights_only=True)
    if job["method"] == "full":
        model = GPT(Config.from_name(name))
        model.load_state_dict(weights)
        return model
    model = lora.GPT(lora.Config.from_name(name, lora_r=16, lora_alpha=32, lora_dropout=0.0, **EVERYWHERE))
    model.load_state_dict(weights, strict=False)
    lora.mark_only_lora_as_trainable(model)
    return model


def built(job: dict[str, Any]) -> Step:
    """The step of its `finetune` commands, with the gradient clipped as on the other sides."""
    model = loaded(job)
    learned = [p for p in model.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(learned, lr=1e-5, weight_decay=0.0)
    collate = get_sft_collate_fn()

    def step(rows: list[dict[str, Any]]) -> float:
        samples = []
        for row in rows:
            ids, of = torch.tensor(row["ids"]), torch.tensor(row["weights"]) > 0
            counts = dict.fromkeys(("raw", "raw_plus_prompt_template"), len(ids))
            samples.append({"input_ids": ids, "labels": torch.where(of, ids, -100), "token_counts": counts})
        padded = collate(samples)
        logits = model(padded["input_ids"], lm_head_chunk_size=128)
        logits[-1] = logits[-1][..., :-1, :]
        loss = chunked_cross_entropy(logits, padded["labels"][..., 1:])
        loss.backward()
        torch.nn.utils.clip_grad_norm_(learned, max_norm=1.0)
        optimizer.step()
        optimizer.zero_grad()
        return float(loss.item())

    return step


if __name__ == "__main__":
    run("litgpt", built)
