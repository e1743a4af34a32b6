"""evaluate: the scores of a model on labelled examples, with intervals, and every item kept beside them.

The decision: the metrics are named or guessed from the references, and which and why is said aloud. What is not asked
for is not computed: a likelihood needs no generation, an exact match no likelihood.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import orjson

from tunesmith.errors import DataError, UsageError
from tunesmith.evaluation import benchmark, needs
from tunesmith.evaluation.answering import chosen_items, items_of, suitable
from tunesmith.evaluation.benchmark import Asked
from tunesmith.evaluation.classes import OfClass, each
from tunesmith.evaluation.execution import containment
from tunesmith.evaluation.item import Item, save_items
from tunesmith.evaluation.metrics import (
    LIKELIHOOD,
    METRICS,
    RUNS_CODE,
    Metric,
    Score,
    guessed,
    item_scores,
    named,
    require,
    score,
)
from tunesmith.evaluation.question import Question, questions, unanswered
from tunesmith.evaluation.task import load_task
from tunesmith.generation.settings import GenerationSettings
from tunesmith.models.context import context_length
from tunesmith.run.opened import Opened, Say, limited, open_model, to_stderr

CHOSEN = ("choice", "f1_macro", "calibration_error")
"""What is measured where labels are chosen, unless asked otherwise."""


@dataclass(frozen=True, slots=True)
class Evaluation:
    """The scores of each task by metric, the deciding one first, and the items behind them."""

    scores: Mapping[str, Mapping[str, Score]]
    items: Mapping[str, Sequence[Item]] = field(repr=False)
    said: Sequence[str] = ()
    task_versions: Mapping[str, int] = field(default_factory=dict)

    @property
    def classes(self) -> dict[str, list[OfClass]]:
        """Precision, recall, F1 and support of each label, for the tasks that are scored by labels."""
        by_label = {task: any(METRICS[name].needs is needs.classes for name in of) for task, of in self.scores.items()}
        return {task: each(items) for task, items in self.items.items() if by_label.get(task)}

    def as_dict(self) -> dict[str, dict[str, dict[str, float | int]]]:
        """`{task: {metric: {value, low, high, items}}}`."""
        return {task: {name: s.as_dict() for name, s in scores.items()} for task, scores in self.scores.items()}

    def as_record(self) -> dict[str, dict[str, dict[str, float | int]]]:
        """The same with what made each number: the metric's `version`, and of a benchmark `task_version`."""
        return {
            task: {name: {**s, "version": METRICS[name].version, **self._of_task(task)} for name, s in scores.items()}
            for task, scores in self.as_dict().items()
        }

    def _of_task(self, task: str) -> dict[str, int]:
        return {"task_version": self.task_versions[task]} if task in self.task_versions else {}


def evaluate(
    model_or_run: str,
    data: str,
    *,
    metrics: Sequence[str] = (),
    limit: int | None = None,
    out: Path | None = None,
    settings: GenerationSettings | None = None,
    say: Say = to_stderr,
) -> Evaluation:
    """Score a run or a model on a file of examples; the task is named after the file.

    Without `settings` answers are greedy and may be twice as long as the longest reference. Under `out` come
    `scores.jsonl` (every item) and `evaluation.json` (the scores, with the versions of their metrics), and
    where labels are scored `classes.json` (each label alone).

    Raises:
        UsageError: a metric that is not known, or no such model.
        DataError: the data cannot be used as they are.
    """
    opened, asked = _asked(model_or_run, data, metrics, limit, say)
    task = Path(data).stem
    evaluation = evaluate_questions(opened, task, asked, metrics=metrics, settings=settings, say=say)
    if out is not None:
        _write(out, evaluation, task)
    return evaluation


def evaluate_labels(
    model_or_run: str,
    data: str,
    labels: str,
    *,
    metrics: Sequence[str] = (),
    limit: int | None = None,
    out: Path | None = None,
    say: Say = to_stderr,
) -> Evaluation:
    """Score a run or a model by the label that it finds likeliest for each example; nothing is written.

    `labels` are those among the references (`auto`), or a file's: one a line, or a JSON list. Every label is read once
    for each example, on one copy of its prompt.

    Raises:
        UsageError: a metric that is not known or needs the reference's own likelihood, or no such model.
        DataError: the data or the labels cannot be used as they are.
    """
    chosen = named(metrics or CHOSEN)
    if wrong := [metric.name for metric in chosen if metric.name in LIKELIHOOD]:
        raise UsageError(f"{', '.join(wrong)}: is of the reference alone. Leave --labels away.")
    opened, asked = _asked(model_or_run, data, metrics, limit, say)
    known, task = label_set(labels, asked), Path(data).stem
    require(chosen, unanswered(asked, known))
    said = f"labels: the likeliest of {len(known)} is the answer; metrics: {_listed(chosen)}"
    if strange := sum(question.reference.strip() not in known for question in asked):
        said += f"; {strange:,} of {len(asked):,} references are none of the labels, so they count as wrong"
    say(said)
    longest = max(len(part) for question in asked for part in question.parts) + max(map(len, known))
    items = chosen_items(opened.network(longest), opened.encoder, asked, known)
    evaluation = Evaluation({task: {metric.name: score(metric, items) for metric in chosen}}, {task: items}, [said])
    if out is not None:
        _write(out, evaluation, task)
    return evaluation


def _asked(
    model_or_run: str, data: str, metrics: Sequence[str], limit: int | None, say: Say
) -> tuple[Opened, list[Question]]:
    """The model, and the questions of a file as it is asked them."""
    named(metrics)  # a misspelled name is told before a model is loaded
    opened = open_model(model_or_run, say=say)
    reading = opened.read(data)
    reading.refuse()
    asked = questions(opened.encoder, limited(reading.examples, limit), context_length(opened.model.config))
    if not asked:
        raise DataError(f"{data}: there is no example to evaluate on.")
    return opened, asked


def evaluate_tasks(
    model_or_run: str,
    tasks: Sequence[str],
    *,
    metrics: Sequence[str] = (),
    limit: int | None = None,
    shots: int | None = None,
    out: Path | None = None,
    say: Say = to_stderr,
) -> Evaluation:
    """Score a run or a model on benchmarks, each by name or YAML file; `limit` questions of each.

    A task with several subsets is scored as a whole, and each subset under `task:subset`. Under `out` come
    `TASK/scores.jsonl` and `evaluation.json`.

    Raises:
        UsageError: a task or metric that is not known, or no such model.
        DataError: the files of a task are missing or do not fit it.
    """
    named(metrics)
    loaded = [(task, benchmark.asked(task, place, subset=subset, shots=shots, limit=limit))
              for task, place, subset in map(load_task, tasks)]  # fmt: skip
    opened = open_model(model_or_run, say=say)
    scores: dict[str, dict[str, Score]] = {}
    kept: dict[str, Sequence[Item]] = {}
    said = []
    versions: dict[str, int] = {}
    for name, (task, all_of) in zip(tasks, loaded, strict=True):
        if not all_of:
            raise DataError(f"{name}: the files of this task hold no question.")
        chosen = named(
            metrics or task.metrics or (("choice", "calibration_error") if task.options else ("exact_match",))
        )
        for members in _parts(name, all_of, benchmark.unanswered(task, all_of)).values():
            require(chosen, members)
        said.append(f"{name} v{task.version}: {len(all_of):,} questions; {task.says}; metrics: {_listed(chosen)}")
        say(said[-1])
        found = benchmark.items(
            opened.network(benchmark.longest(opened.encoder, task, all_of)), opened.encoder, task, all_of
        )
        kept[name] = found
        for part, members in _parts(name, all_of, found).items():
            scores[part] = {metric.name: score(metric, members) for metric in chosen}
            versions[part] = task.version
        if out is not None:
            save_items(out / folder_of(name) / "scores.jsonl", found, item_scores(chosen, found))
    evaluation = Evaluation(scores, kept, said, versions)
    if out is not None:
        _write_scores(out, evaluation)
    return evaluation


def folder_of(task: str) -> str:
    """The folder below `--out` that keeps the items of a benchmark."""
    return Path(task).name.replace(":", "-")


def _parts(name: str, all_of: Sequence[Asked], found: Sequence[Item]) -> dict[str, list[Item]]:
    """All items of a task, and those of each subset where there are several."""
    subsets = sorted({question.subset for question in all_of})
    parts = {name: list(found)}
    if len(subsets) > 1:
        each = len(found) // len(all_of)  # a question may have been answered several times
        pairs = [(all_of[place // each], item) for place, item in enumerate(found)]
        parts |= {f"{name}:{s}": [item for question, item in pairs if question.subset == s] for s in subsets}
    return parts


def evaluate_questions(
    opened: Opened,
    task: str,
    asked: Sequence[Question],
    *,
    metrics: Sequence[str] = (),
    settings: GenerationSettings | None = None,
    say: Say = to_stderr,
) -> Evaluation:
    """Score a model that is open already on questions that are encoded already."""
    chosen, why = _metrics(metrics, asked)
    names = {metric.name for metric in chosen}
    if names - LIKELIHOOD:
        require(chosen, unanswered(asked))
    said = [f"metrics: {_listed(chosen)} ({why})"]
    say(said[-1])
    found, reason = suitable(asked, settings)
    generates = bool(names - LIKELIHOOD)
    if generates:
        said.append(f"answers: up to {found.max_new_tokens} tokens, temperature {found.temperature:g} ({reason})")
        say(said[-1])
    items = items_of(
        opened.network(max(len(part) for question in asked for part in question.parts)),
        opened.encoder,
        asked,
        settings=found if generates else None,
        likelihood=bool(names & LIKELIHOOD),
    )
    return Evaluation({task: {metric.name: score(metric, items) for metric in chosen}}, {task: items}, said)


def label_set(labels: str, asked: Sequence[Question]) -> list[str]:
    """The labels to choose between: those among the references (`auto`), or those of a file.

    Raises:
        DataError: there are fewer than two, or the file cannot be read.
    """
    if labels == "auto":
        found = sorted({question.reference.strip() for question in asked})
    else:
        try:
            text = Path(labels).read_text(encoding="utf-8")
            listed = orjson.loads(text) if text.lstrip().startswith("[") else text.splitlines()
        except (OSError, ValueError) as error:
            raise DataError(f"{labels}: no list of labels can be read from it ({error}).") from error
        found = list(dict.fromkeys(str(label).strip() for label in listed if str(label).strip()))
    if len(found) < 2:
        raise DataError(f"{labels}: {len(found)} labels; two or more are needed to choose between.")
    return found


def _metrics(names: Sequence[str], asked: Sequence[Question]) -> tuple[list[Metric], str]:
    if names:
        return named(names), "as asked"
    if not any(question.prompt for question in asked):
        return named(["loss", "perplexity", "bits_per_byte"]), "the data are plain text, so there is nothing to answer"
    return guessed([question.reference for question in asked if question.prompt])


def _write(out: Path, evaluation: Evaluation, task: str) -> None:
    items = list(evaluation.items[task])
    chosen = named(list(evaluation.scores[task]))
    save_items(out / "scores.jsonl", items, item_scores(chosen, items))
    _write_scores(out, evaluation)


def _write_scores(out: Path, evaluation: Evaluation) -> None:
    (out / "evaluation.json").write_bytes(orjson.dumps(evaluation.as_record(), option=orjson.OPT_INDENT_2) + b"\n")
    if found := evaluation.classes:
        (out / "classes.json").write_bytes(orjson.dumps(found, option=orjson.OPT_INDENT_2) + b"\n")


def _listed(metrics: Sequence[Metric]) -> str:
    """The metrics with their versions; where one runs what the model writes, also what that cannot do."""
    names = ", ".join(f"{metric.name} v{metric.version}" for metric in metrics)
    return f"{names}; answers run {containment()}" if RUNS_CODE & {metric.name for metric in metrics} else names
