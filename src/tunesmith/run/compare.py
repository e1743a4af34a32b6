"""The verb `compare`: models side by side on the same examples, each against the first.

The decision: a comparison is of answers to the same items, so it takes models and endpoints, which answer now, or
folders in which an evaluation kept its items. What was answered once is not answered again.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tunesmith.data.reading import read_examples
from tunesmith.errors import UsageError
from tunesmith.evaluation.compare import Comparison, compare_many
from tunesmith.evaluation.endpoint import Endpoint, endpoint_items, is_endpoint
from tunesmith.evaluation.item import Item, load_items
from tunesmith.run.evaluate import evaluate
from tunesmith.run.opened import Say, limited, to_stderr

SCORES = "scores.jsonl"


@dataclass(frozen=True, slots=True)
class Compared:
    """The first model against the others, each by every metric, and what all of them answered."""

    names: Sequence[str]
    answered: Sequence[Sequence[Item]] = field(repr=False)
    comparisons: Sequence[Sequence[Comparison]]


def compare_models(
    names: Sequence[str],
    data: str | None,
    *,
    metrics: Sequence[str] = (),
    limit: int | None = None,
    say: Say = to_stderr,
) -> Compared:
    """Every candidate after the first against the first, on `data` or on the items that their folders keep.

    A candidate is a run, a model, a folder that `evaluate --out` wrote, or an endpoint (`http://host/v1#model`).

    Raises:
        UsageError: fewer than two names, or a model without `data` to answer.
    """
    answered = answers_of(names, data, metrics=metrics, limit=limit, say=say)
    return Compared(names, answered, compare_many(answered[0], answered[1:], metrics))


def answers_of(
    names: Sequence[str], data: str | None, *, metrics: Sequence[str] = (), limit: int | None = None, say: Say
) -> list[Sequence[Item]]:
    """What each candidate answered.

    Raises:
        UsageError: as `compare_models`.
    """
    if len(names) < 2:
        raise UsageError("compare needs two or more: runs, models, endpoints, or folders that `evaluate --out` wrote.")
    return [_items(name, data, metrics, limit, say) for name in names]


def _items(name: str, data: str | None, metrics: Sequence[str], limit: int | None, say: Say) -> Sequence[Item]:
    kept = Path(name) / SCORES
    if kept.is_file():
        return load_items(kept)[:limit]
    if data is None:
        raise UsageError(f"{name}: keeps no scores, so --data FILE is needed for it to answer.")
    if is_endpoint(name):
        reading = read_examples(data)
        reading.refuse()
        return endpoint_items(Endpoint.of(name), limited(reading.examples, limit))
    (items,) = evaluate(name, data, metrics=metrics, limit=limit, say=say).items.values()
    return items
