"""LitGPT's side of a comparison: its model, adapters and loss in the loop of its `finetune` commands, step by step.

Runs in an environment with litgpt; it needs nothing of Tunesmith. Rows are padded to the longest of the batch, as its
collation does. LitGPT keeps the output matrix apart from the embeddings, so a full run trains more weights than ours.
"""

import json
import resource
import shutil
import sys
import tempfile
import time
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from litgpt import lora
from litgpt.config import Config
from litgpt.data.base import get_sft_collate_fn
from litgpt.model import GPT
from litgpt.scripts.convert_hf_checkpoint import convert_hf_checkpoint
from litgpt.utils import chunked_cross_entropy

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


def main(job: dict[str, Any], answers: Any) -> None:
    """Load, wait, step."""
    model = loaded(job)
    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=1e-5, weight_decay=0.0)
    collate = get_sft_collate_fn()
    batch = job["batch"]
    print(json.dumps({"ready": True}), file=answers, flush=True)
    for number in range(job["steps"]):
        if not sys.stdin.readline():
            return
        began = time.perf_counter()
        rows = job["rows"][number * batch : (number + 1) * batch]
        samples = []
        for row in rows:
            ids, learned = torch.tensor(row["ids"]), torch.tensor(row["weights"]) > 0
            counts = dict.fromkeys(("raw", "raw_plus_prompt_template"), len(ids))
            samples.append({"input_ids": ids, "labels": torch.where(learned, ids, -100), "token_counts": counts})
        padded = collate(samples)
        logits = model(padded["input_ids"], lm_head_chunk_size=128)
        logits[-1] = logits[-1][..., :-1, :]
        loss = chunked_cross_entropy(logits, padded["labels"][..., 1:])
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        entry = {
            "loss": loss.item(), "tokens": sum(len(r["ids"]) for r in rows), "seconds": time.perf_counter() - began,
            "gigabytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9,
            "versions": f"litgpt {version('litgpt')}, torch {torch.__version__}",
        }  # fmt: skip
        print(json.dumps(entry), file=answers, flush=True)


if __name__ == "__main__":
    stdout, sys.stdout = sys.stdout, sys.stderr  # whatever a library prints is talk
    main(json.loads(Path(sys.argv[1]).read_text()), stdout)
