"""What fine-tuning forgets, and what each way keeps: one table over models, data, ways and seeds.

The decision: every row is one `tunesmith train` of its own recipe into a folder of its own, and is skipped where its
report is there already; so the study goes on where it was stopped, and a row can be looked into. Sizes are arguments,
and stand in the table.

    python benchmarks/forgetting.py TUNESMITH_DATA --out runs/forgetting --rows 300 --steps 40 --seeds 3
    python benchmarks/forgetting.py TUNESMITH_DATA --out runs/forgetting --table
"""

import argparse
import csv
import json
import subprocess
import sys
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path
from statistics import mean, stdev
from typing import Any

WAYS: dict[str, list[str]] = {
    "full": ["method={kind: full}", "training.learning_rate=1e-4"],
    "full, low rate": ["method={kind: full}", "training.learning_rate=2e-5"],
    "full, replay": ["method={kind: full}", "training.learning_rate=1e-4", "keeping.replay=0.2"],
    "full, KL": ["method={kind: full}", "training.learning_rate=1e-4", "keeping.kl=0.3"],
    "full, replay + KL": [
        "method={kind: full}", "training.learning_rate=1e-4", "keeping.replay=0.2", "keeping.kl=0.3",
    ],
    "full, interpolated": ["method={kind: full}", "training.learning_rate=1e-4", "keeping.interpolate=whole"],
    "full, EAFT": ["method={kind: full}", "training.learning_rate=1e-4", "training.token_weighting=entropy"],
    "LoRA": ["method={kind: lora}", "training.learning_rate=5e-4"],
}  # fmt: skip
DECISIVE = ("full", "full, replay", "full, interpolated", "LoRA")
"""The ways that are run with every seed; the others with the first alone."""
TASKS = {"banking77": "task_accuracy", "gsm8k": "task_numeric_answer"}


def banking77(folder: Path, rows: int) -> Iterator[dict[str, Any]]:
    """Queries with the 77 intents named in the system message."""
    labels = json.loads((folder / "banking77/categories.json").read_text())
    system = "Name the intent of the customer's message, one of: " + ", ".join(labels) + "."
    with (folder / "banking77/train.csv").open(newline="") as file:
        every = list(csv.DictReader(file))
    for row in every[:: max(1, len(every) // rows)][:rows]:
        turns = (("system", system), ("user", row["text"]), ("assistant", row["category"]))
        yield {"messages": [{"role": role, "content": text} for role, text in turns]}


def gsm8k(folder: Path, rows: int) -> Iterator[dict[str, Any]]:
    """Word problems with their solutions."""
    with (folder / "gsm8k/train.jsonl").open() as file:
        for row in islice(map(json.loads, file), rows):
            turns = (("user", row["question"]), ("assistant", row["answer"]))
            yield {"messages": [{"role": role, "content": text} for role, text in turns]}


def train(arguments: argparse.Namespace, task: str, way: str, seed: int) -> None:
    """One row, unless it is there."""
    place = arguments.out / task / way.replace(", ", "-").replace(" + ", "-").replace(" ", "-") / str(seed)
    if (place / "report.json").is_file():
        return
    data = arguments.out / task / "train.jsonl"
    if not data.is_file():
        data.parent.mkdir(parents=True, exist_ok=True)
        made = banking77 if task == "banking77" else gsm8k
        lines = [json.dumps(row) for row in made(arguments.data, arguments.rows)]
        data.write_text("\n".join(lines) + "\n")
    settings = [
        f"model={arguments.model}", f"data.train={data}", "data.validation=0.25", "data.test=0", f"run={place}",
        f"seed={seed}", f"training.steps={arguments.steps}", f"training.batch_size={arguments.batch}",
        f"training.validation.metric={TASKS[task]}", f"training.validation.every={max(1, arguments.steps // 4)}",
        f"retention.text={arguments.data / 'wikitext2/test.txt'}", "retention.share=1", *WAYS[way],
    ]  # fmt: skip
    subprocess.run([sys.executable, "-m", "tunesmith", "train", "--resume", "auto", *settings], check=True)


def table(out: Path) -> str:
    """Every row that is there, the mean and spread over its seeds."""
    lines = [
        "| task | way | seeds | score before → after | lost on WikiText-2, nats a token [95 %] | seconds |",
        "|---|---|---|---|---|---|",
    ]
    for task, metric in TASKS.items():
        for way in sorted({path.parent.parent for path in (out / task).glob("*/*/report.json")}):
            reports = [json.loads(path.read_text()) for path in sorted(way.glob("*/report.json"))]
            scores = [report["task"][metric] for report in reports]
            lost = [report["retention"]["general"]["forgotten"] for report in reports]
            after = _spread([100 * score["best"] for score in scores], ".1f")
            low, high = mean(one["low"] for one in lost), mean(one["high"] for one in lost)
            lines.append(
                f"| {task} | {way.name} | {len(reports)} | {100 * scores[0]['before']:.1f} → {after} % | "
                f"{_spread([one['value'] for one in lost], '+.4f')} [{low:+.4f}, {high:+.4f}] | "
                f"{mean(report['training_seconds'] for report in reports):,.0f} |"
            )
    return "\n".join(lines)


def _spread(values: Sequence[float], form: str) -> str:
    return f"{mean(values):{form}}" + (f" ± {stdev(values):.3g}" if len(values) > 1 else "")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--model", default="smollm2-135m-instruct")
    parser.add_argument("--task", choices=TASKS, default="banking77")
    parser.add_argument("--way", choices=WAYS, action="append")
    parser.add_argument("--rows", type=int, default=300)
    parser.add_argument("--steps", type=int, default=40)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--table", action="store_true")
    arguments = parser.parse_args()
    for seed in range(0 if arguments.table else arguments.seeds):
        for way in arguments.way or WAYS:
            if seed == 0 or way in DECISIVE:
                train(arguments, arguments.task, way, seed)
    print(table(arguments.out))


if __name__ == "__main__":
    main()
