"""TRL's side of a comparison: its own trainer and loop, held before each step until it is told to go.

Runs in an environment with trl and peft; it needs nothing of Tunesmith.
"""

import json
import os
import resource
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

ANSWERS = os.fdopen(os.dup(1), "w")
os.dup2(2, 1)  # whatever a library prints is talk

import torch  # noqa: E402
import transformers  # noqa: E402
import trl  # noqa: E402
from datasets import Dataset  # noqa: E402
from peft import LoraConfig  # noqa: E402


def say(entry: dict[str, Any]) -> None:
    """One answer."""
    print(json.dumps(entry), file=ANSWERS, flush=True)


class InOrder(trl.SFTTrainer):
    """The examples in the order given."""

    def _get_train_sampler(self, train_dataset: Any = None) -> Any:
        return torch.utils.data.SequentialSampler(self.train_dataset)


class Turns(transformers.TrainerCallback):
    """Waits for its turn before each step, and tells of it afterwards, when its loss is known."""

    def __init__(self, tokens: list[int]) -> None:
        self.tokens, self.began, self.seconds = tokens, 0.0, 0.0

    def on_train_begin(self, *args: Any, **kwargs: Any) -> None:
        say({"ready": True})

    def on_step_begin(self, *args: Any, **kwargs: Any) -> None:
        sys.stdin.readline()
        self.began = time.perf_counter()

    def on_step_end(self, *args: Any, **kwargs: Any) -> None:
        self.seconds = time.perf_counter() - self.began

    def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **kwargs: Any) -> None:
        if not logs or "loss" not in logs:
            return
        entry = {
            "loss": float(logs["loss"]), "tokens": self.tokens[state.global_step - 1], "seconds": self.seconds,
            "gigabytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9,
            "versions": f"trl {trl.__version__}, torch {torch.__version__}, transformers {transformers.__version__}",
        }  # fmt: skip
        say(entry)


def main(job: dict[str, Any]) -> None:
    """Build the trainer as its users do, and let it train."""
    rows, batch = job["rows"], job["batch"]
    micro = min(batch, job["peer_micro"])
    data = Dataset.from_list(
        [{"input_ids": r["ids"], "completion_mask": [int(w > 0) for w in r["weights"]]} for r in rows]
    )
    tokens = [sum(len(r["ids"]) for r in rows[n : n + batch]) for n in range(0, len(rows), batch)]
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
            callbacks=[Turns(tokens)],
        ).train()


if __name__ == "__main__":
    main(json.loads(Path(sys.argv[1]).read_text()))
