"""The verb `compare`: models side by side on the same examples, each against the first.

The decision: a comparison is of answers to the same items, so it takes models and endpoints, which answer now, or
folders in which an evaluation kept its items. What was answered once is not answered again.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tunesmith.data.reading import read_examples
from tunesmith.errors import UsageError
from tunesmith.evaluation.compare import Comparison, compare_tasks
from tunesmith.evaluation.endpoint import Endpoint, endpoint_items, is_endpoint
from tunesmith.evaluation.item import Item, load_items
from tunesmith.evaluation.task import deciding, load_task
from tunesmith.run.evaluate import evaluate, evaluate_tasks, folder_of
from tunesmith.run.opened import Say, limited, to_stderr

SCORES = "scores.jsonl"


@dataclass(frozen=True, slots=True)
class Compared:
    """For each task what every candidate answered, and the first against each of the others by every metric."""

    names: Sequence[str]
    answered: Mapping[str, Sequence[Sequence[Item]]] = field(repr=False)
    comparisons: Mapping[str, Sequence[Sequence[Comparison]]]


def compare_models(
    names: Sequence[str],
    data: str | None,
    *,
    tasks: Sequence[str] = (),
    metrics: Sequence[str] = (),
    limit: int | None = None,
    say: Say = to_stderr,
) -> Compared:
    """Every candidate after the first against the first, on `data`, on benchmarks, or on what their folders keep.

    A candidate is a run, a model, a folder that `evaluate --out` wrote, or an endpoint (`http://host/v1#model`). p is
    corrected for all candidates, tasks and metrics together; of a benchmark its deciding metric counts unless others
    are named.

    Raises:
        UsageError: fewer than two names, a model without anything to answer, or an endpoint asked a benchmark.
    """
    answered: dict[str, Sequence[Sequence[Item]]] = {}
    chosen: dict[str, Sequence[str]] = {task: metrics or deciding(load_task(task)[0]) for task in tasks}
    if tasks:
        _require_several(names)
        each = [_of_tasks(name, tasks, limit, say) for name in names]
        answered = {task: [items[task] for items in each] for task in tasks}
    if data is not None or not tasks:
        name = Path(data).name if data is not None else "kept"
        answered[name] = answers_of(names, data, metrics=metrics, limit=limit, say=say)
        chosen[name] = metrics
    return Compared(names, answered, compare_tasks(answered, chosen))


def answers_of(
    names: Sequence[str], data: str | None, *, metrics: Sequence[str] = (), limit: int | None = None, say: Say
) -> list[Sequence[Item]]:
    """What each candidate answered.

    Raises:
        UsageError: as `compare_models`.
    """
    _require_several(names)
    return [_items(name, data, metrics, limit, say) for name in names]


def _require_several(names: Sequence[str]) -> None:
    if len(names) < 2:
        raise UsageError("compare needs two or more: runs, models, endpoints, or folders that `evaluate --out` wrote.")


def _of_tasks(name: str, tasks: Sequence[str], limit: int | None, say: Say) -> Mapping[str, Sequence[Item]]:
    """What a candidate answers to benchmarks; what its folder keeps is not asked again."""
    if is_endpoint(name):
        raise UsageError(f"{name}: benchmarks score the likelihood of options, which an endpoint does not tell.")
    kept = {task: Path(name) / folder_of(task) / SCORES for task in tasks}
    found = {task: load_items(path)[:limit] for task, path in kept.items() if path.is_file()}
    if missing := [task for task in tasks if task not in found]:
        found |= {task: list(of) for task, of in evaluate_tasks(name, missing, limit=limit, say=say).items.items()}
    return found


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
