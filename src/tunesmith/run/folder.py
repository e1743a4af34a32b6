"""The run folder: one training in it, and never another one written over it.

    recipe.yaml     resolved, with versions and fingerprints     report.json, loss.png, console.log
    metrics.jsonl   one line a step                              checkpoints/step-N/   best/   final/   kept/

The decision: what identifies a run (its recipe, data, tokenizer, versions and the numerics of this code) is written
before the first step, so that a resumed run can tell whether it still is the same one.
"""

import importlib.metadata
import json
import platform
import shutil
import time
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from types import MappingProxyType
from typing import Any

from tunesmith import disk
from tunesmith.errors import CheckpointError, UsageError
from tunesmith.recipe import Recipe

NUMERICS = 7
"""Raised whenever the same recipe may give other numbers than before."""

FINAL, BEST, KEPT = "final", "best", "kept"
WEIGHTS = {KEPT: "the weights mixed with the base's", BEST: "the best weights", FINAL: "the weights of the last step"}
"""Where the weights of a run stand, the ones to use first, and what they are."""
BASELINE, PAGE = "baseline.json", "report.html"
RECIPE, METRICS, REPORT, LOG = "recipe.yaml", "metrics.jsonl", "report.json", "console.log"
IDENTITY, SUMS = "identity.json", "sha256.json"
_BEGINNINGS = {".lock", IDENTITY, f".{IDENTITY}.partial", f".{RECIPE}.partial"}
"""What a run writes before its recipe; where nothing else stands, it never began."""


def versions() -> dict[str, str]:
    """What the numbers of a run depend on besides its recipe and data."""
    return {**_installed(), "python": platform.python_version(), "numerics": str(NUMERICS)}


@cache
def _installed() -> Mapping[str, str]:
    packages = ("tunesmith", "torch", "transformers", "tokenizers")
    return MappingProxyType({name: importlib.metadata.version(name) for name in packages})


def new_folder(recipe: Recipe, *, now: Callable[[], time.struct_time] = time.localtime) -> Path:
    """The folder of a new run; it is not made yet.

    Raises:
        UsageError: it exists and is not empty.
    """
    if recipe.run is None:
        return Path("runs") / f"{time.strftime('%Y%m%d-%H%M%S', now())}-{recipe.name or 'run'}"
    require_new(Path(recipe.run))
    return Path(recipe.run)


def require_new(folder: Path) -> None:
    """Return only if no run has begun in `folder` and nothing else stands there.

    Raises:
        UsageError: something does.
    """
    if folder.exists() and (not folder.is_dir() or {path.name for path in folder.iterdir()} - _BEGINNINGS):
        raise UsageError(
            f"{folder}: this folder exists and is never overwritten. Name another with run=…, or continue it: "
            f"`tunesmith train --resume {folder}`."
        )


def is_started(folder: Path) -> bool:
    """Whether a folder holds a run of ours: its recipe is the last thing written before training begins."""
    return (folder / RECIPE).is_file()


def finished(run: Path) -> dict[str, Any] | None:
    """The report of a run that has come to its end; None while it has not."""
    try:
        found: dict[str, Any] = json.loads((run / REPORT).read_bytes())
    except (FileNotFoundError, ValueError):
        return None
    return found if (run / FINAL).is_dir() else None


def weights_of(run: Path) -> tuple[Path, str]:
    """Where the weights of a run stand, and which they are: mixed with the base's, else its best, else its last.

    Raises:
        UsageError: it has neither yet.
        CheckpointError: they are not those that were saved.
    """
    heal(run)
    for name, meaning in WEIGHTS.items():
        if (run / name).is_dir():
            require_whole(run / name)
            return run / name, f"{meaning} of {run}"
    raise UsageError(f"{run}: this run has no finished weights yet. Continue it: `tunesmith train --resume {run}`.")


def seal(folder: Path) -> None:
    """A folder of weights knows the sums of its files."""
    sums = {path.name: disk.sha256_of(path) for path in sorted(folder.iterdir())}
    (folder / SUMS).write_text(json.dumps(sums, indent=2) + "\n", encoding="utf-8")


def require_whole(folder: Path) -> None:
    """Return only if a folder of weights still holds what was sealed in it; one that never was has nothing to prove.

    Raises:
        CheckpointError: a file is missing, cut or altered; names it.
    """
    if not (folder / SUMS).is_file():
        return
    try:
        sums = json.loads((folder / SUMS).read_bytes())
        wrong = [name for name, sum in sums.items() if disk.sha256_of(folder / name) != sum]
    except (OSError, ValueError, AttributeError) as error:
        wrong = [f"{SUMS} or a file in it ({error})"]
    if wrong:
        others = [f"{folder.with_name(name)}" for name in WEIGHTS if name != folder.name]
        others = [other for other in others if Path(other).is_dir()]
        instead = f", use other weights ({', '.join(others)})" if others else ""
        raise CheckpointError(
            f"{folder}: {', '.join(wrong)} is not what was saved; it was altered or cut since. Restore it from a "
            f"copy{instead}, or train anew."
        )


def replace_folder(target: Path, write: Callable[[Path], object]) -> None:
    """`target` holds what `write` puts into the folder that it is given, or, if that fails, what it held before."""
    heal(target.parent)
    fresh, before = target.with_name(f".{target.name}.new"), target.with_name(f".{target.name}.before")
    shutil.rmtree(fresh, ignore_errors=True)
    try:
        write(fresh)
    except BaseException:
        shutil.rmtree(fresh, ignore_errors=True)  # a full disk needs the space
        raise
    if target.exists():
        target.rename(before)
    fresh.rename(target)
    disk.sync(target.parent)
    shutil.rmtree(before, ignore_errors=True)


def heal(run: Path) -> None:
    """A folder that a crash left moved aside has its name again."""
    for before in run.glob(".*.before"):
        target = run / before.name.removeprefix(".").removesuffix(".before")
        if target.exists():
            shutil.rmtree(before)
        else:
            before.rename(target)


def differences(then: Mapping[str, str], now: Mapping[str, str], accept: frozenset[str]) -> list[str]:
    """What is not as it was when the run began, one line each, apart from what is accepted by name."""
    names = sorted(then.keys() | now.keys())
    return [
        f"{name}: was {then.get(name, 'absent')}, is {now.get(name, 'absent')}"
        for name in names
        if then.get(name) != now.get(name) and name not in accept
    ]
