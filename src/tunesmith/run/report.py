"""The report of a run: what was trained on what, what came of it, and what it cost.

The decision: everything in it is read from the run itself (its journal, its sets, its recipe), so a resumed run reports
the same as one that was never interrupted, apart from times.
"""

import resource
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from pydantic import JsonValue

from tunesmith.run.folder import METRICS, versions
from tunesmith.run.prepare import Prepared, Ready
from tunesmith.training.journal import read as read_journal
from tunesmith.training.loop import Outcome

_TEXTS = {"general": "there", "prompts": "on the task's prompts"}


def report(
    prepared: Prepared, ready: Ready, outcome: Outcome, folder: Path, baseline: float | None, seconds: float
) -> dict[str, JsonValue]:
    """What report.json holds of a run that has ended."""
    journal = read_journal(folder / METRICS)
    sets, state = prepared.sets, outcome.state
    timed: float = sum(float(e["seconds"]) for e in journal)
    tokens = sum(int(e["tokens"]) for e in journal)
    return {
        "run": str(folder),
        "model": {"name": prepared.source.name, "fingerprint": prepared.source.fingerprint},
        "method": prepared.recipe.method.model_dump(mode="json"),
        "parameters": {"total": ready.applied.total_parameters, "trained": ready.applied.trainable_parameters},
        "data": {
            "format": sets.format,
            "read": sets.read,
            "dropped": dict(sets.dropped),
            "train": len(sets.train),
            "validation": len(sets.validation),
            "test": len(sets.test),
            "findings": dict(sets.findings),
        },
        "ended": outcome.ended,
        "steps": state.step,
        "best_step": state.best_step if sets.validation else None,
        "validation_loss": {"before": baseline, "best": _best_loss(prepared, journal, state.best_step)},
        "tokens": tokens,
        "computed_tokens": sum(int(e["computed_tokens"]) for e in journal),
        "training_seconds": round(timed, 2),
        "tokens_per_second": round(tokens / timed, 1) if timed else None,
        "seconds": round(seconds, 2),
        "peak_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
        "probe": ready.probe.reason,
        "forest": ready.probe.network.forest,
        "device": "cuda" if torch.cuda.is_available() else "cpu",
        "versions": dict(versions()),
    }


def _best_loss(prepared: Prepared, journal: Sequence[Mapping[str, Any]], step: int) -> float | None:
    if not prepared.sets.validation:
        return None
    return next((float(e["validation_loss"]) for e in journal if e["step"] == step), None)


def _pair(report: Mapping[str, Any]) -> Iterator[str]:
    """What was gained and what was lost, side by side."""
    kept, loss = report["retention"], report["validation_loss"]
    if kept is None:
        return
    gained = f"gained: {loss['before'] - loss['best']:.4f} nats per token of the task"
    lost = [f"KL {kept[name]['kl']['value']:.4f} {what}" for name, what in _TEXTS.items() if name in kept]
    if "general" in kept:
        change = kept["general"]["forgotten"]
        lost.insert(
            0, f"{change['value']:.4f} [{change['low']:.4f}, {change['high']:.4f}] nats per token of general text"
        )
    yield f"{gained}; lost: {', '.join(lost)}"


def closing(outcome: Outcome, report: Mapping[str, Any], folder: Path) -> str:
    """What is said when a run has ended."""
    lines = [f"{report['steps']} steps done" + (" (stopped early)" if outcome.ended == "patience" else "")]
    loss = report["validation_loss"]
    if loss["best"] is not None:
        lines.append(f"validation loss {loss['before']:.4f} before, {loss['best']:.4f} at step {report['best_step']}")
        if loss["best"] >= loss["before"]:
            lines.append("warning: the model is no better on the validation data than before; lower the learning rate.")
        lines += _pair(report)
    lines.append(f"{report['tokens']:,} tokens in the data, {report['computed_tokens']:,} computed")
    lines.append(f"go on: tunesmith chat {folder}")
    return "\n".join(lines)
