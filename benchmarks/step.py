"""Tunesmith and a peer side by side: one step here, the same step there, alternating, on the same examples.

    python benchmarks/step.py alpaca full --peer-python TRL_ENVIRONMENT/bin/python
    python benchmarks/step.py banking77 lora --batch 64 --peer best --peer-python TRL_ENVIRONMENT/bin/python
    python benchmarks/step.py alpaca lora --peer litgpt --peer-python LITGPT_ENVIRONMENT/bin/python

`make bench` makes the peers' environments, and runs it for all of them.

Both sides are processes of their own that wait while the other computes. They get the same token ids and the same
targets, float32, the same batches, AdamW, clipping and rate. `--peer defaults` is TRL as it comes, with bf16 off;
`--peer best` is the best that it does on a CPU: no gradient checkpointing, and batches of like length (for both sides);
batches above `--peer-micro` come to it in parts, or they would not fit into memory;
`--peer litgpt` is LitGPT, `torchtune` torchtune, `llamafactory` LLaMA-Factory as it comes, with bf16 off, and
`llamafactory-best` the same without gradient checkpointing; all of them on batches of like length.
A row counts only where the losses of every step agree; each step's tokens are those of the data, before sharing and
padding. The first step, which does not count, is the longest: it touches all memory. Utilisation is 6 (LoRA: 4)
operations per matrix parameter and computed token, the output matrix only for supervised rows, against a 1024² product
in the same process, and against the products of the blocks' own shapes. Adds a row to the first table of
benchmarks/RESULTS.md.
"""

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
RESULTS = HERE / "RESULTS.md"
DEFAULT_MODEL = "smollm2-135m-instruct"
SCRIPTS = {
    "defaults": "trl_side.py", "best": "trl_side.py", "litgpt": "litgpt_side.py",
    "llamafactory": "llamafactory_side.py", "llamafactory-best": "llamafactory_side.py",
    "torchtune": "torchtune_side.py",
}  # fmt: skip
"""What makes the steps of a peer."""
AGREE = 2e-4
"""Largest relative difference of the losses of a step; above it the row is void."""


@dataclass(slots=True)
class Side:
    """One of the two processes, waiting for its turn."""

    process: subprocess.Popen[str]
    began: float
    steps: list[dict[str, Any]]
    first: float = 0.0

    @classmethod
    def start(cls, python: str, script: str, job: Path) -> "Side":
        """Start it; it loads the model and waits."""
        began = time.perf_counter()
        process = subprocess.Popen(
            [python, str(HERE / script), str(job)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        side = cls(process, began, [])
        side.answer()
        return side

    def answer(self) -> dict[str, Any]:
        """The next line that it says."""
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line:
            sys.exit(f"{self.process.args}: ended with {self.process.wait()} before it answered")
        return json.loads(line)

    def step(self) -> None:
        """Let it make one step."""
        assert self.process.stdin is not None
        self.process.stdin.write("go\n")
        self.process.stdin.flush()
        self.steps.append(self.answer())

    def rate(self) -> float:
        """Tokens of the data per second; the median of the steps that count."""
        return statistics.median(step["tokens"] / step["seconds"] for step in self.counted)

    def median(self, name: str) -> float:
        """The median of a number over the steps that count."""
        return statistics.median(step[name] for step in self.counted)

    @property
    def counted(self) -> list[dict[str, Any]]:
        """The steps after the first, if there are any."""
        return self.steps[1:] or self.steps


def main() -> None:
    """Run one comparison, print it and keep it."""
    asked = arguments()
    with tempfile.TemporaryDirectory() as folder:
        job = Path(folder) / "job.json"
        subprocess.run([sys.executable, HERE / "rows.py", job, json.dumps(vars(asked))], check=True)
        started = time.perf_counter()
        ours = Side.start(sys.executable, "tunesmith_side.py", job)
        ours.first = time.perf_counter() - started
        started = time.perf_counter()
        theirs = Side.start(asked.peer_python, SCRIPTS[asked.peer], job)
        theirs.first = time.perf_counter() - started
        for number in range(asked.steps):
            for side in (ours, theirs):
                side.step()
                if number == 0:
                    side.first += side.steps[0]["seconds"]
            print(number + 1, ours.steps[-1], theirs.steps[-1], file=sys.stderr, flush=True)
        for side in (ours, theirs):
            side.process.wait()  # LLaMA-Factory saves its model first
    keep(asked, ours, theirs)


def arguments() -> argparse.Namespace:
    """What the command line says."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("work", choices=["alpaca", "banking77"])
    parser.add_argument("method", choices=["full", "lora"])
    parser.add_argument("--batch", type=int, default=8, help="examples a step")
    parser.add_argument("--steps", type=int, default=3)
    parser.add_argument("--peer", choices=list(SCRIPTS), default="defaults")
    parser.add_argument("--peer-micro", type=int, default=8, help="most examples a peer (not LitGPT) computes at once")
    parser.add_argument("--peer-python", default=sys.executable, help="the Python of the peer's environment")
    parser.add_argument("--model", default=DEFAULT_MODEL)
    parser.add_argument("--data", default=os.environ.get("TUNESMITH_DATA"), help="the folder of the real data")
    found = parser.parse_args()
    if found.data is None:
        parser.error("name the folder of the data with --data or TUNESMITH_DATA")
    return found


def keep(asked: argparse.Namespace, ours: Side, theirs: Side) -> None:
    """Print the result and append it to RESULTS.md."""
    pairs = [(a["loss"], b["loss"]) for a, b in zip(ours.steps, theirs.steps, strict=True)]
    apart = max(abs(a - b) / abs(b) for a, b in pairs)
    ratio = ours.rate() / theirs.rate()
    last = ours.steps[-1]
    row = [
        time.strftime("%Y-%m-%d", time.gmtime()), named(asked), asked.peer,
        f"{ours.rate():.1f}", f"{theirs.rate():.1f}", f"**{ratio:.2f}×**" if apart <= AGREE else "void",
        f"{last['tokens']:,} / {last['computed_tokens']:,}",
        " / ".join(f"{100 * ours.median(name):.0f}" for name in ("utilisation", "of_own")) + " %",
        f"{last['gigabytes']:.1f} / {theirs.steps[-1]['gigabytes']:.1f}", f"{ours.first:.0f} / {theirs.first:.0f}",
        f"{apart:.0e}", f"{last['versions']}; {theirs.steps[-1]['versions']}; {machine()}",
    ]  # fmt: skip
    print("| " + " | ".join(row) + " |")
    lines = RESULTS.read_text(encoding="utf-8").splitlines(keepends=True)
    table = next(i for i, line in enumerate(lines) if line.startswith("|---"))
    end = next((i for i in range(table, len(lines)) if not lines[i].startswith("|")), len(lines))
    lines.insert(end, "| " + " | ".join(row) + " |\n")
    RESULTS.write_text("".join(lines), encoding="utf-8")


def named(asked: argparse.Namespace) -> str:
    """What was compared: the data, the method, the batch, and the model where it is not the default one."""
    other = [] if asked.model == DEFAULT_MODEL else [asked.model]
    return ", ".join([asked.work, asked.method, f"batch {asked.batch}", *other])


def machine() -> str:
    """The class of this machine, without its name."""
    cpu = Path("/proc/cpuinfo")
    names = [line.partition(":")[2].strip() for line in cpu.read_text().splitlines() if line.startswith("model name")]
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return f"{names[0] if names else platform.machine()}, {len(os.sched_getaffinity(0))} cores used, {memory:.0f} GiB"


if __name__ == "__main__":
    main()
