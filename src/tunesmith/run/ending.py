"""How the last process of a run ended: by itself, killed, or killed because the machine had no memory left.

The decision: a mark stands in the run folder while a process trains, so an end without goodbye is known at the next
start; and the system's own counter of out-of-memory kills tells the one cause that the user can mend by a setting.
"""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch

from tunesmith.training import durable

MARK = "running.json"
_COUNTERS = Path("/proc/vmstat")
_BOOT = Path("/proc/sys/kernel/random/boot_id")


@contextmanager
def marked(folder: Path) -> Iterator[None]:
    """The mark stands in `folder` during the block, and stays where the process is killed in it."""
    durable.write_json(folder / MARK, {"memory_kills": memory_kills(), "boot": _boot()})
    try:
        yield
    finally:
        (folder / MARK).unlink(missing_ok=True)


def diagnosis(folder: Path, budget: int | None) -> str | None:
    """A sentence about the last process of the run, where it did not end by itself."""
    try:
        mark = json.loads((folder / MARK).read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError):
        return None
    if mark.get("boot") == _boot() and memory_kills() > int(mark.get("memory_kills", 0)):
        return (
            "The last process of this run was killed, and since then the system has killed for lack of memory. "
            f"If it happens again, halve the micro-batch: {halved(budget)}"
        )
    return "The last process of this run was killed; going on from its last checkpoint."


def halved(budget: int | None) -> str:
    """The setting that takes about half the memory of a step."""
    return f"training.micro_batch_tokens={max((budget or 2) // 2, 1)}"


def out_of_memory(error: BaseException) -> bool:
    """Whether an error says that there was no memory; on a CPU torch tells it in words alone."""
    return isinstance(error, MemoryError | torch.OutOfMemoryError) or "can't allocate memory" in str(error)


def memory_kills() -> int:
    """How many processes this system has killed for lack of memory since it started; 0 where it does not tell."""
    try:
        lines = _COUNTERS.read_text(encoding="ascii").splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) for line in lines if line.startswith("oom_kill ")), 0)


def _boot() -> str:
    try:
        return _BOOT.read_text(encoding="ascii").strip()
    except OSError:
        return ""
