"""TRL's side of a comparison: its own trainer and loop, held before each step until it is told to go.

Runs in an environment with trl and peft; it needs nothing of Tunesmith.
"""

import json
import sys
import tempfile
from pathlib import Path
from typing import Any

from turns import Turns  # first: it takes stdout

# isort: split

import torch
import transformers
import trl
from datasets import Dataset
from peft import LoraConfig


class InOrder(trl.SFTTrainer):
    """The examples in the order given."""

    def _get_train_sampler(self, train_dataset: Any = None) -> Any:
        return torch.utils.data.SequentialSampler(self.train_dataset)


def main(job: dict[str, Any]) -> None:
    """Build the trainer as its users do, and let it train."""
    rows, batch = job["rows"], job["batch"]
    micro = min(batch, job["peer_micro"])
    data = Dataset.from_list(
        [{"input_ids": r["ids"], "completion_mask": [int(w > 0) for w in r["weights"]]} for r in rows]
    )
    with tempfile.TemporaryDirectory() as folder:
        config = trl.SFTConfig(
            output_dir=folder, per_device_train_batch_size=micro, max_steps=job["steps"], learning_rate=1e-5,
            lr_scheduler_type="constant", warmup_steps=0, weight_decay=0.0, max_grad_norm=1.0, logging_steps=1,
            gradient_accumulation_steps=batch // micro, save_strategy="no", report_to="none", disable_tqdm=True,
            bf16=False, max_length=None, use_cpu=True,
            gradient_checkpointing=job["peer"] == "defaults", completion_only_loss=True, shuffle_dataset=False,
        )  # fmt: skip
        lora = LoraConfig(r=16, lora_alpha=32, lora_dropout=0.0, target_modules="all-linear", task_type="CAUSAL_LM")
        model = transformers.AutoModelForCausalLM.from_pretrained(job["folder"], dtype=torch.float32)
        InOrder(
            model=model,
            args=config,
            train_dataset=data,
            processing_class=transformers.AutoTokenizer.from_pretrained(job["folder"]),
            peft_config=lora if job["method"] == "lora" else None,
            callbacks=[Turns(job, f"trl {trl.__version__}")],
        ).train()


if __name__ == "__main__":
    main(json.loads(Path(sys.argv[1]).read_text()))
