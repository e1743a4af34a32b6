"""The verb `compare`: models side by side on the same examples, each against the first.

The decision: a comparison is of answers to the same items, so it takes either models, which answer now, or folders in
which an evaluation kept its items. What was answered once is not answered again.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tunesmith.errors import UsageError
from tunesmith.evaluation.compare import Comparison, compare
from tunesmith.evaluation.item import Item, load_items
from tunesmith.run.evaluate import evaluate
from tunesmith.run.opened import Say, to_stderr

SCORES = "scores.jsonl"


@dataclass(frozen=True, slots=True)
class Compared:
    """One candidate against the first: its name, and each metric's comparison."""

    left: str
    right: str
    comparisons: Sequence[Comparison]


def compare_models(
    names: Sequence[str],
    data: str | None,
    *,
    metrics: Sequence[str] = (),
    limit: int | None = None,
    say: Say = to_stderr,
) -> list[Compared]:
    """Every candidate after the first against the first, on `data` or on the items that their folders keep.

    Raises:
        UsageError: fewer than two names, or a model without `data` to answer.
    """
    if len(names) < 2:
        raise UsageError("compare needs two or more: runs, models, or folders that `evaluate --out` wrote.")
    answered = [_items(name, data, metrics, limit, say) for name in names]
    return [
        Compared(names[0], name, compare(answered[0], items, metrics))
        for name, items in zip(names[1:], answered[1:], strict=True)
    ]


def _items(name: str, data: str | None, metrics: Sequence[str], limit: int | None, say: Say) -> Sequence[Item]:
    kept = Path(name) / SCORES
    if kept.is_file():
        return load_items(kept)[:limit]
    if data is None:
        raise UsageError(f"{name}: keeps no scores, so --data FILE is needed for it to answer.")
    (items,) = evaluate(name, data, metrics=metrics, limit=limit, say=say).items.values()
    return items
