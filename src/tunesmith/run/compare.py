"""The verb `compare`: models side by side on the same examples, each against the first.

The decision: a comparison is of answers to the same items, so it takes models and endpoints, which answer now, or
folders in which an evaluation kept its items. What was answered once is not answered again. An answer of an endpoint
may be as long as one of a model here.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import orjson

from tunesmith.data.example import AnyExample
from tunesmith.data.reading import read_examples
from tunesmith.errors import UsageError
from tunesmith.evaluation import benchmark
from tunesmith.evaluation.compare import Comparison, compare_tasks
from tunesmith.evaluation.endpoint import Endpoint, endpoint_items, endpoint_task_items, is_endpoint, question_of
from tunesmith.evaluation.item import Item, load_items, save_items
from tunesmith.evaluation.metrics import LIKELIHOOD, item_scores, named
from tunesmith.evaluation.task import deciding, load_task
from tunesmith.generation.settings import GenerationSettings
from tunesmith.run.evaluate import evaluate, evaluate_tasks, folder_of
from tunesmith.run.opened import Say, limited, to_stderr

SCORES = "scores.jsonl"
SHORTEST = 32
"""Tokens that an answer may always have."""


@dataclass(frozen=True, slots=True)
class Asking:
    """How candidates are asked: by which metrics, how many questions, how many solved ones before each of a benchmark,
    and how answers to a file of data are written."""

    metrics: Sequence[str] = ()
    limit: int | None = None
    shots: int | None = None
    settings: GenerationSettings | None = None


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
    asking: Asking | None = None,
    out: Path | None = None,
    say: Say = to_stderr,
) -> Compared:
    """Every candidate after the first against the first, on `data`, on benchmarks, or on what their folders keep.

    A candidate is a run, a model, a folder that `evaluate --out` wrote, or an endpoint (`http://host/v1#model`). p is
    corrected for all candidates, tasks and metrics together; of a benchmark its deciding metric counts unless others
    are named. Under `out` come the items of each candidate, as `evaluate --out` keeps them.

    Raises:
        UsageError: fewer than two names, a model without anything to answer, or an endpoint asked for likelihoods.
    """
    asking = asking or Asking()
    _require_askable(names, tasks, asking.metrics)
    answered: dict[str, Sequence[Sequence[Item]]] = {}
    chosen: dict[str, Sequence[str]] = {task: asking.metrics or deciding(load_task(task)[0]) for task in tasks}
    if tasks:
        each = [_of_tasks(name, tasks, asking, say) for name in names]
        answered = {task: [items[task] for items in each] for task in tasks}
    if data is not None or not tasks:
        name = Path(data).name if data is not None else "kept"
        answered[name] = answers_of(names, data, asking=asking, say=say)
        chosen[name] = asking.metrics
    found = Compared(names, answered, compare_tasks(answered, chosen))
    if out is not None:
        _keep(out, found, tasks)
    return found


def answers_of(names: Sequence[str], data: str | None, *, asking: Asking, say: Say = to_stderr) -> list[Sequence[Item]]:
    """What each candidate answered to a file of data.

    Raises:
        UsageError: as `compare_models`.
    """
    _require_askable(names, (), asking.metrics)
    if data is not None and asking.settings is None and any(map(is_endpoint, names)):
        asking = replace(asking, settings=_alike(data, asking.limit, say))
    return [_items(name, data, asking, say) for name in names]


def written_answers(names: Sequence[str], task: str, *, asking: Asking, say: Say = to_stderr) -> list[Sequence[Item]]:
    """What each candidate wrote to a benchmark, for people to read.

    Raises:
        UsageError: as `compare_models`, or a task whose options are only scored.
    """
    if load_task(task)[0].options is not None:
        raise UsageError(f"{task}: its options are only scored, so there is nothing written to vote on. Give --data.")
    return [_of_tasks(name, [task], asking, say)[task] for name in names]


def _require_askable(names: Sequence[str], tasks: Sequence[str], metrics: Sequence[str]) -> None:
    if len(names) < 2:
        raise UsageError("compare needs two or more: runs, models, endpoints, or folders that `evaluate --out` wrote.")
    endpoints = [name for name in names if is_endpoint(name)]
    scored = [task for task in tasks if load_task(task)[0].options is not None]
    if endpoints and (silent := [*scored, *(set(metrics) & LIKELIHOOD)]):
        raise UsageError(
            f"{endpoints[0]}: {silent[0]} asks for likelihoods, which an endpoint does not tell. Take what is scored "
            "by written answers (gsm8k, ifeval, bbh; exact_match), or a model here."
        )


def _of_tasks(name: str, tasks: Sequence[str], asking: Asking, say: Say) -> Mapping[str, Sequence[Item]]:
    """What a candidate answers to benchmarks; what its folder keeps is not asked again."""
    if is_endpoint(name):
        return {task: _asked(Endpoint.of(name), task, asking, say) for task in tasks}
    kept = {task: Path(name) / folder_of(task) / SCORES for task in tasks}
    found = {
        task: load_items(path)[: asking.limit and asking.limit * load_task(task)[0].samples]
        for task, path in kept.items()
        if path.is_file()
    }
    if missing := [task for task in tasks if task not in found]:
        answered = evaluate_tasks(name, missing, limit=asking.limit, shots=asking.shots, say=say).items
        found |= {task: list(items) for task, items in answered.items()}
    return found


def _asked(endpoint: Endpoint, name: str, asking: Asking, say: Say) -> Sequence[Item]:
    task, place, subset = load_task(name)
    questions = benchmark.asked(task, place, subset=subset, shots=asking.shots, limit=asking.limit)
    if not task.chat:
        say(f"{name}: a model here goes on with the text of a question; {endpoint.model} gets it as a message")
    return endpoint_task_items(endpoint, task, questions)


def _items(name: str, data: str | None, asking: Asking, say: Say) -> Sequence[Item]:
    kept = Path(name) / SCORES
    if kept.is_file():
        return load_items(kept)[: asking.limit]
    if data is None:
        raise UsageError(f"{name}: keeps no scores, so --data FILE is needed for it to answer.")
    if is_endpoint(name):
        assert asking.settings is not None
        return endpoint_items(Endpoint.of(name), _examples(data, asking.limit), asking.settings)
    found = evaluate(name, data, metrics=asking.metrics, limit=asking.limit, settings=asking.settings, say=say)
    return next(iter(found.items.values()))


def _examples(data: str, limit: int | None) -> Sequence[AnyExample]:
    reading = read_examples(data)
    reading.refuse()
    return limited(reading.examples, limit)


def _alike(data: str, limit: int | None, say: Say) -> GenerationSettings:
    """Settings for candidates of which one has a tokenizer that nobody here knows."""
    longest = max((len(question_of(example)[1].encode()) for example in _examples(data, limit)), default=0)
    tokens = max(SHORTEST, longest)
    say(f"answers: up to {tokens} tokens from every candidate, as many as the longest reference has bytes")
    return GenerationSettings(max_new_tokens=tokens)


def _keep(out: Path, found: Compared, tasks: Sequence[str]) -> None:
    """The items of each candidate in a folder of its own, and the comparisons as JSON lines."""
    lines = []
    for task, sides in found.answered.items():
        comparisons = found.comparisons[task]
        metrics = named([comparison.metric for comparison in comparisons[0]])
        for number, items in enumerate(sides, start=1):
            folder = out / str(number) / (folder_of(task) if task in tasks else "")
            save_items(folder / SCORES, items, item_scores(metrics, items))
        for name, of_pair in zip(found.names[1:], comparisons, strict=True):
            said = {"task": task, "against": found.names[0], "model": name}
            lines += [orjson.dumps({**said, **one.as_dict()}) + b"\n" for one in of_pair]
    (out / "compared.jsonl").write_bytes(b"".join(lines))
