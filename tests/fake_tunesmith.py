"""A stand-in for the `tunesmith` command that learns nothing: the files of a run, in a moment and without torch.

It understands `data check FILE … --json` and `train DATA name=value…` / `train --resume run`, and behaves as the
content of the data asks: `BROKEN` is invalid, `CRASH` kills itself, `SLOW` waits between steps until it is told to end,
`FULL` says that the disk is full, `POOR` that there is too little memory.
"""

import json
import signal
import sys
import threading
from pathlib import Path

HEADER = {"layer.lora_A": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}}
STEPS, PER_EPOCH = 6, 3


def tensors(path: Path, header: dict[str, object], value: bytes) -> None:
    """A safetensors file with one number in it."""
    written = json.dumps(header).encode()
    path.write_bytes(len(written).to_bytes(8, "little") + written + value)


def check(file: str) -> int:
    """What `data check --json` prints."""
    lines = Path(file).read_text().splitlines()
    bad = [n for n, line in enumerate(lines, 1) if "BROKEN" in line]
    examples = len(lines) - len(bad)
    found = [
        {"name": "bad-role", "level": "stop", "file": file, "line": n, "path": "messages[0].role", "message": "what?"}
        for n in bad
    ]
    totals = {"bad-role": len(bad)} if bad else {}
    if examples < 10:
        totals["too-few"] = 1
    print(json.dumps({"examples": examples, "findings": found, "totals": totals, "stops": list(totals)}))
    return 3 if totals else 0


def train(data: str) -> int:
    """The files that `train` leaves, going on from the last step that stands in the journal."""
    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda number, frame: stop.set())
    run = Path("run")
    run.mkdir(exist_ok=True)
    (run / "recipe.yaml").write_text("data:\n  train: ../train.jsonl\ntraining:\n  steps: 6\n  batch_size: 8\n")
    if "FULL" in data:
        print("Error: run: cannot be written: the disk is full.", file=sys.stderr)
        return 1
    if "POOR" in data:
        print("Error: run: there is too little memory for a step. Go on with smaller micro-batches.", file=sys.stderr)
        return 1
    journal = run / "metrics.jsonl"
    done = len(journal.read_text().splitlines()) if journal.is_file() else 0
    for step in range(done + 1, STEPS + 1):
        entry = {"step": step, "epoch": (step - 1) // PER_EPOCH + 1, "loss": 1 / step, "accuracy": 0.5, "seconds": 0.1}
        if step % PER_EPOCH == 0:
            folder = run / "checkpoints" / f"step-{step}"
            folder.mkdir(parents=True, exist_ok=True)
            tensors(folder / "weights.safetensors", dict(HEADER), bytes([step, 0, 0, 0]))
            entry["validation_loss"] = 2 / step
        with journal.open("a") as file:
            file.write(json.dumps(entry) + "\n")
        if "CRASH" in data and step >= 2:
            signal.raise_signal(signal.SIGKILL)
        if "SLOW" in data and stop.wait(60):
            return 130
    final = run / "final"
    final.mkdir(exist_ok=True)
    (final / "adapter_config.json").write_text("{}")
    tensors(
        final / "adapter_model.safetensors", {"base_model.model.layer.lora_A.weight": HEADER["layer.lora_A"]}, b"final"
    )
    (run / "report.json").write_text(json.dumps({"tokens": 600}))
    return 0


if __name__ == "__main__":
    verb = sys.argv[1]
    sys.exit(check(sys.argv[3]) if verb == "data" else train(Path("train.jsonl").read_text()))
