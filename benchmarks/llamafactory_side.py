"""LLaMA-Factory's side of a comparison: what its `train` command runs, held before each step until it is told to go.

Runs in an environment with llamafactory; it needs nothing of Tunesmith. It gets the rows as the tokenized data that it
would have stored itself, and a copy of the model whose configuration says float32, in which it then loads all weights.
"""

import json
import sys
import tempfile
from importlib.machinery import ModuleSpec
from importlib.metadata import version
from importlib.util import module_from_spec
from pathlib import Path
from typing import Any

from turns import Turns  # first: it takes stdout

# isort: split
from datasets import Dataset, DatasetDict

sys.modules["torchaudio"] = module_from_spec(ModuleSpec("torchaudio", None))  # its builds want CUDA; here is no sound

from llamafactory.train.tuner import run_exp  # noqa: E402


def in_float32(folder: Path, copy: Path) -> Path:
    """The same files, but for the number format that the configuration names."""
    copy.mkdir()
    for file in folder.iterdir():
        (copy / file.name).symlink_to(file.resolve())
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    config.pop("torch_dtype", None)
    (copy / "config.json").unlink()
    (copy / "config.json").write_text(json.dumps({**config, "dtype": "float32"}), encoding="utf-8")
    return copy


def tokenized(rows: list[dict[str, Any]], folder: Path) -> Path:
    """The rows on disk, in LLaMA-Factory's own columns."""
    data = [
        {
            "input_ids": r["ids"],
            "attention_mask": [1] * len(r["ids"]),
            "labels": [i if w > 0 else -100 for i, w in zip(r["ids"], r["weights"], strict=True)],
        }
        for r in rows
    ]
    DatasetDict({"train": Dataset.from_list(data)}).save_to_disk(folder)
    return folder


def main(job: dict[str, Any]) -> None:
    """Run its command with these settings; all others are its own."""
    batch, micro = job["batch"], min(job["batch"], job["peer_micro"])
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        settings = {
            "model_name_or_path": str(in_float32(Path(job["folder"]), folder / "model")), "template": "empty",
            "dataset": "rows", "tokenized_path": str(tokenized(job["rows"], folder / "rows")),
            "stage": "sft", "do_train": True, "finetuning_type": job["method"],
            "lora_rank": 16, "lora_alpha": 32, "lora_dropout": 0.0, "lora_target": "all",
            "disable_gradient_checkpointing": job["peer"] == "llamafactory-best", "disable_shuffling": True,
            "output_dir": str(folder / "out"), "per_device_train_batch_size": micro,
            "gradient_accumulation_steps": batch // micro, "max_steps": job["steps"], "learning_rate": 1e-5,
            "lr_scheduler_type": "constant", "weight_decay": 0.0, "max_grad_norm": 1.0, "logging_steps": 1,
            "save_strategy": "no", "report_to": "none", "disable_tqdm": True, "bf16": False, "use_cpu": True,
        }  # fmt: skip
        run_exp(settings, callbacks=[Turns(job, f"llamafactory {version('llamafactory')}")])


if __name__ == "__main__":
    main(json.loads(Path(sys.argv[1]).read_text()))
