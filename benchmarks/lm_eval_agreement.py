"""MMLU by Tunesmith and by lm-evaluation-harness 0.4.13 on the same prompts: log-likelihoods and time side by side.

The decision: the two live in environments of their own. The first pass, in Tunesmith's, writes prompts, options and
our log-likelihoods; the second, in the harness's, scores the same texts and compares.

    python benchmarks/lm_eval_agreement.py ours smollm2-135m-instruct mmlu:computer_security 50 ours.json
    LM_EVAL_PYTHON benchmarks/lm_eval_agreement.py theirs ours.json
"""

import json
import sys
import time
from pathlib import Path
from typing import Any


def ours(model: str, name: str, limit: int, out: Path) -> None:
    """Score the first questions of a task, and keep what was asked beside what was found."""
    from tunesmith.evaluation import benchmark
    from tunesmith.evaluation.task import load_task
    from tunesmith.run.opened import open_model

    task, place, subset = load_task(name)
    questions = benchmark.asked(task, place, subset=subset, shots=None, limit=limit)
    opened = open_model(model)
    network = opened.network(benchmark.longest(opened.encoder, task, questions))
    began = time.perf_counter()
    items = benchmark.items(network, opened.encoder, task, questions)
    seconds = time.perf_counter() - began
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
    print(f"{len(rows)} questions, accuracy {sum(r['right'] for r in rows) / len(rows):.4f}, {seconds:.1f} s")


def theirs(found: Path) -> None:
    """Score the same texts with the harness, one request an option as it does, and print what differs."""
    from lm_eval.api.instance import Instance
    from lm_eval.models.huggingface import HFLM

    kept: Any = json.loads(found.read_text())
    model = HFLM(pretrained=kept["folder"], device="cpu", dtype="float32", batch_size=8)
    pairs = [(row["prompt"], row["between"] + option) for row in kept["rows"] for option in row["options"]]
    requests = [Instance("loglikelihood", {}, pair, number) for number, pair in enumerate(pairs)]
    began = time.perf_counter()
    scores = iter(model.loglikelihood(requests))
    seconds = time.perf_counter() - began
    worst, agree, right = 0.0, 0, 0
    for row in kept["rows"]:
        named = {option: next(scores)[0] for option in row["options"]}
        worst = max(worst, *(abs(named[option] - nats) for option, nats in row["options"].items()))
        is_right = max(named, key=named.__getitem__) == row["reference"]
        right += is_right
        agree += is_right == row["right"]
    count = len(kept["rows"])
    print(f"{count} questions: largest difference of a log-likelihood {worst:.2e}; {agree} judged alike")
    print(f"accuracy theirs {right / count:.4f}; {seconds:.1f} s against {kept['seconds']:.1f} s: "
          f"{seconds / kept['seconds']:.1f} times")  # fmt: skip


if __name__ == "__main__":
    if sys.argv[1] == "ours":
        ours(sys.argv[2], sys.argv[3], int(sys.argv[4]), Path(sys.argv[5]))
    else:
        theirs(Path(sys.argv[2]))
