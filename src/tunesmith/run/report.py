"""The report of a run: what was trained on what, what came of it, and what it cost.

The decision: everything in it is read from the run itself (its journal, its sets, its recipe), so a resumed run reports
the same as one that was never interrupted, apart from times.
"""

import re
import resource
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from pydantic import JsonValue

from tunesmith.data.remote import HUB
from tunesmith.data.settings import DataSettings
from tunesmith.models.packages import PACKAGE_MODELS
from tunesmith.models.sources import Source
from tunesmith.run.folder import METRICS, versions
from tunesmith.run.page import pair
from tunesmith.run.prepare import KNOWN_METRICS, TASK, Prepared, Ready
from tunesmith.training.journal import read as read_journal
from tunesmith.training.loop import Outcome

COUNTERS = Path("/sys/class/powercap")
"""Where the kernel counts the energy of the processor's packages."""
_LICENCE = re.compile(r"""^(license|license_name):\s*(?:-\s*)?["']?([\w.+-]+)""", re.MULTILINE)


def report(
    prepared: Prepared,
    ready: Ready,
    outcome: Outcome,
    folder: Path,
    baseline: Mapping[str, float] | None,
    seconds: float,
) -> dict[str, JsonValue]:
    """What report.json holds of a run that has ended."""
    journal = read_journal(folder / METRICS)
    sets, state = prepared.sets, outcome.state
    timed: float = sum(float(e["seconds"]) for e in journal)
    tokens = sum(int(e["tokens"]) for e in journal)
    return {
        "run": str(folder),
        "model": {
            "name": prepared.source.name,
            "hub_id": prepared.source.hub_id,
            "fingerprint": prepared.source.fingerprint,
            "licence": licence(prepared.source),
        },
        "method": prepared.recipe.method.model_dump(mode="json"),
        "parameters": {"total": ready.applied.total_parameters, "trained": ready.applied.trainable_parameters},
        "data": {
            "files": _files(prepared.recipe.data),
            "format": sets.format,
            "licence": prepared.recipe.data.licence,
            "read": sets.read,
            "dropped": dict(sets.dropped),
            "train": len(sets.train) - sets.replayed,
            "replayed": sets.replayed,
            "validation": len(sets.validation),
            "test": len(sets.test),
            "findings": dict(sets.findings),
        },
        "ended": outcome.ended,
        "steps": state.step,
        "best_step": state.best_step if sets.validation else None,
        "metric": prepared.recipe.training.validation.metric,
        **{
            name: {"before": (baseline or {}).get(name), "best": _at_best(prepared, journal, state.best_step).get(name)}
            for name in KNOWN_METRICS
        },
        "task": {
            name: {"before": before, "best": _at_best(prepared, journal, state.best_step).get(name)}
            for name, before in (baseline or {}).items()
            if name.startswith(TASK)
        },
        "tokens": tokens,
        "computed_tokens": sum(int(e["computed_tokens"]) for e in journal),
        "training_seconds": round(timed, 2),
        "saving_seconds": round(outcome.saving, 2),
        "tokens_per_second": round(tokens / timed, 1) if timed else None,
        "seconds": round(seconds, 2),
        "peak_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
        "probe": ready.probe.reason,
        "forest": ready.probe.network.forest,
        "device": "cuda" if torch.cuda.is_available() else "cpu",
        "versions": dict(versions()),
    }


def licence(source: Source) -> str | None:
    """The licence of a model by the hub's identifier (`apache-2.0`), as its own card says, or as it is known of it.

    Where the card says `other` its name follows (`other: NAME`). None where nobody says.
    """
    card = source.folder / "README.md"
    text = card.read_text(encoding="utf-8", errors="replace")[:4000] if card.is_file() else ""
    head = text.split("\n---", 1)[0] if text.startswith("---") else ""
    told = {key: value.lower() for key, value in _LICENCE.findall(head)}
    if "license" in told:
        name = told.get("license_name")
        return f"other: {name}" if told["license"] == "other" and name else told["license"]
    return next((model.licence for model in PACKAGE_MODELS.values() if model.hub_id == source.hub_id), None)


def _files(data: DataSettings) -> dict[str, JsonValue]:
    """The names of what each set was read from: data sets of the hub in full, of files no more than the last part."""
    given = {"train": (data.train,) if isinstance(data.train, str) else data.train}
    given |= {part: (of,) for part, of in (("validation", data.validation), ("test", data.test)) if isinstance(of, str)}
    return {part: [n if n.startswith(HUB) else Path(n).name for n in names] for part, names in given.items()}


def joules() -> float | None:
    """What the processor's packages have used so far, where the kernel lets it be read; differences count."""
    total, found = 0, False
    for counter in COUNTERS.glob("intel-rapl:?/energy_uj"):
        try:
            total, found = total + int(counter.read_text()), True
        except (OSError, ValueError):
            return None
    return total / 1e6 if found else None


def changes(report: Mapping[str, Any]) -> dict[str, Any]:
    """Every number of the validation set by the journal's name: `{before, best}`."""
    return {**{name: report[name] for name in KNOWN_METRICS}, **report["task"]}


def _at_best(prepared: Prepared, journal: Sequence[Mapping[str, Any]], step: int) -> Mapping[str, Any]:
    """The journal's line of the best step."""
    if not prepared.sets.validation:
        return {}
    return next((entry for entry in journal if entry["step"] == step), {})


def closing(outcome: Outcome, report: Mapping[str, Any], folder: Path) -> str:
    """What is said when a run has ended."""
    lines = [f"{report['steps']} steps done" + (" (stopped early)" if outcome.ended == "patience" else "")]
    loss = report["validation_loss"]
    if loss["best"] is not None:
        lines.append(f"validation loss {loss['before']:.4f} before, {loss['best']:.4f} at step {report['best_step']}")
        if loss["best"] >= loss["before"]:
            lines.append("warning: the model is no better on the validation data than before; lower the learning rate.")
    if report["retention"] is not None or report["gains"] is not None:
        gained, lost = pair(report)
        between = "\n        "
        lines += [f"gained: {between.join(gained)}", f"lost:   {between.join(lost)}"]
    lines.append(f"{report['tokens']:,} tokens in the data, {report['computed_tokens']:,} computed")
    lines.append(f"go on: tunesmith chat {folder}")
    return "\n".join(lines)
