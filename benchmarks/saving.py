"""What saving costs: the memory and time of one save, and its share of a run.

    python benchmarks/saving.py                                          one save of the default model, fully trained
    python benchmarks/saving.py --lora                                   one save of its adapter (rank 16)
    python benchmarks/saving.py recipes/support/recipe.yaml run=runs/x   a run, and how long it stood still to save

Memory is the growth of the process's highest resident size (`VmHWM`, reset before the save) over what it held. The
seconds of a run are those of its report: `saving_seconds`, in which training waited for weights to be written, of
`training_seconds` (steps alone) and `seconds` (with validation, retention and saving).
"""

import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from tunesmith.models.adapters import save_adapter
from tunesmith.models.cache import flush
from tunesmith.models.load import load_model
from tunesmith.models.methods import apply
from tunesmith.models.save import copy_beside, write_model
from tunesmith.models.settings import Full, Lora
from tunesmith.models.sources import resolve
from tunesmith.recipe import load_recipe
from tunesmith.run.folder import seal
from tunesmith.run.train import train
from tunesmith.training import checkpoint
from tunesmith.training.optimizer import state_tensors

MODEL = "smollm2-135m-instruct"
TIMES = 3


def resident(field: str) -> float:
    """MiB of memory that this process holds (`VmRSS`) or has held since the last reset (`VmHWM`)."""
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith(field))


def measured(name: str, act: Callable[[int], object]) -> None:
    """Print the best of `TIMES` saves."""
    rows = []
    for place in range(TIMES):
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
        before, began, used = resident("VmRSS"), time.perf_counter(), time.process_time()
        act(place)
        seconds = time.perf_counter() - began
        rows.append((seconds, time.process_time() - used, resident("VmHWM") - before))
    seconds, processor, _ = min(rows)
    print(f"{name:24s} {seconds:7.2f} s  {processor:7.2f} s of a processor  {max(r[2] for r in rows):8.1f} MiB more")


def one_save(place: Path, method: Full | Lora) -> None:
    """A folder of weights (as `best/` and `final/`) and a checkpoint, of a model with the state of AdamW."""
    source = resolve(MODEL)
    model: Any = load_model(source.folder, dtype=torch.float32)
    named = apply(method, model, seed=0).trainable
    optimizer = torch.optim.AdamW([parameter for _, parameter in named], lr=0.0, fused=True)
    for _, parameter in named:
        parameter.grad = torch.zeros_like(parameter)
    optimizer.step()
    optimizer.zero_grad()
    weights = sum(parameter.nbytes for _, parameter in named) / 2**20
    print(
        f"{source.name}, {method.kind}: {weights:,.0f} MiB of weights, {3 * weights:,.0f} MiB with the state of AdamW"
    )

    def folder(number: int) -> None:
        target = place / f"model-{number}"
        target.mkdir()
        if isinstance(method, Lora):
            save_adapter(model, target, method, source)
            copy_beside(source.folder, target)
        else:
            write_model(model, target, source_folder=source.folder)
        seal(target)
        flush(target)

    tensors = {"weights": dict(named), "optimizer": state_tensors(optimizer, named)}
    measured("folder of weights", folder)
    measured("checkpoint", lambda number: checkpoint.save(place / "run", number + 1, tensors, {}, keep=1))


def a_run(arguments: list[str]) -> None:
    """Train, and print what share of the run saving took."""
    result = train(load_recipe(arguments[0], arguments[1:]))
    report = result.report
    saving, whole = report["saving_seconds"], report["seconds"]
    print(f"{report['steps']} steps in {report['training_seconds']} s, {whole} s in all; "
          f"stood still to save {saving} s, {100 * saving / whole:.1f} % of the run; "
          f"peak {report['peak_bytes'] / 2**30:.2f} GiB")  # fmt: skip


if __name__ == "__main__":
    lora = "--lora" in sys.argv
    if len(sys.argv) > 1 and not lora:
        a_run(sys.argv[1:])
    else:
        with tempfile.TemporaryDirectory(prefix="tunesmith-saving-", dir=".") as name:
            one_save(Path(name), Lora(rank=16) if lora else Full())
