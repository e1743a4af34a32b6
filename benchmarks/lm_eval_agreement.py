"""MMLU by Tunesmith and by lm-evaluation-harness 0.4.13 on the same prompts: log-likelihoods and time side by side.

The decision: each side runs in a process of its own, with the same number of threads. The first writes prompts, options
and our log-likelihoods; the second scores the same texts with the harness's own `hf` model, which reads a prompt once
for options of one token. Seconds of CPU are compared a question, because other work may take part of the machine.

    python benchmarks/lm_eval_agreement.py ours smollm2-135m-instruct mmlu:us_foreign_policy 100 ours.json
    python benchmarks/lm_eval_agreement.py theirs ours.json 0 60         (questions 0 to 59 of them)
"""

import json
import sys
import time
from pathlib import Path
from typing import Any

import torch


def ours(model: str, name: str, limit: int, out: Path) -> None:
    """Score the first questions of a task, and keep what was asked beside what was found."""
    from tunesmith.evaluation import benchmark
    from tunesmith.evaluation.task import load_task
    from tunesmith.run.opened import open_model

    task, place, subset = load_task(name)
    questions = benchmark.asked(task, place, subset=subset, shots=None, limit=limit)
    opened = open_model(model)
    network = opened.network(benchmark.longest(opened.encoder, task, questions))
    began = time.process_time()
    items = benchmark.items(network, opened.encoder, task, questions)
    seconds = time.process_time() - began
    rows = [
        {
            "prompt": item.prompt,
            "between": task.between,
            "options": dict(item.options),
            "right": item.answer == item.reference,
            "reference": item.reference,
        }
        for item in items
    ]
    out.write_text(json.dumps({"folder": str(opened.folder), "seconds": seconds, "rows": rows}))
    right = sum(row["right"] for row in rows) / len(rows)
    print(f"{len(rows)} questions, accuracy {right:.4f}, {seconds:.1f} s of CPU, {torch.get_num_threads()} threads")


def theirs(found: Path, first: int, last: int) -> None:
    """Score some of the texts with the harness, one request an option as it does, and print what differs."""
    from lm_eval.api.instance import Instance
    from lm_eval.models.huggingface import HFLM

    kept: Any = json.loads(found.read_text())
    rows = kept["rows"][first:last]
    model = HFLM(pretrained=kept["folder"], device="cpu", dtype="float32", batch_size=8)
    pairs = [(row["prompt"], row["between"] + option) for row in rows for option in row["options"]]
    requests = [Instance("loglikelihood", {}, pair, number) for number, pair in enumerate(pairs)]
    began = time.process_time()
    scores = iter(model.loglikelihood(requests))
    seconds = time.process_time() - began
    worst, agree, right = 0.0, 0, 0
    for row in rows:
        named = {option: next(scores)[0] for option in row["options"]}
        worst = max(worst, *(abs(named[option] - nats) for option, nats in row["options"].items()))
        is_right = max(named, key=named.__getitem__) == row["reference"]
        right += is_right
        agree += is_right == row["right"]
    accuracy = sum(row["right"] for row in rows) / len(rows)
    print(f"{len(rows)} questions: largest difference of a log-likelihood {worst:.2e}; {agree} judged alike; "
          f"accuracy ours {accuracy:.4f}, theirs {right / len(rows):.4f}")  # fmt: skip
    ours_each, theirs_each = kept["seconds"] / len(kept["rows"]), seconds / len(rows)
    print(f"seconds of CPU a question: ours {ours_each:.3f} (of {len(kept['rows'])}), theirs {theirs_each:.3f} "
          f"(of {len(rows)}), {torch.get_num_threads()} threads: {theirs_each / ours_each:.1f} times")  # fmt: skip


if __name__ == "__main__":
    if sys.argv[1] == "ours":
        ours(sys.argv[2], sys.argv[3], int(sys.argv[4]), Path(sys.argv[5]))
    else:
        theirs(Path(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4]))
