"""evaluate: the scores of a model on labelled examples, with intervals, and every item kept beside them.

The decision: the metrics are named or guessed from the references, and which and why is said aloud. What is not asked
for is not computed: a likelihood needs no generation, an exact match no likelihood.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import orjson

from tunesmith.errors import DataError
from tunesmith.evaluation.answering import items_of, suitable
from tunesmith.evaluation.item import Item, save_items
from tunesmith.evaluation.metrics import Metric, Score, guessed, item_scores, named, score
from tunesmith.evaluation.question import Question, questions
from tunesmith.generation.settings import GenerationSettings
from tunesmith.models.context import context_length
from tunesmith.run.opened import Opened, Say, limited, open_model, to_stderr

LIKELIHOOD = frozenset({"loss", "perplexity", "bits_per_byte"})
"""Metrics that read the likelihood of the reference and no answer."""


@dataclass(frozen=True, slots=True)
class Evaluation:
    """The scores of each task by metric, the deciding one first, and the items behind them."""

    scores: Mapping[str, Mapping[str, Score]]
    items: Mapping[str, Sequence[Item]] = field(repr=False)
    said: Sequence[str] = ()

    def as_dict(self) -> dict[str, dict[str, dict[str, float | int]]]:
        """`{task: {metric: {value, low, high, items}}}`."""
        return {task: {name: s.as_dict() for name, s in scores.items()} for task, scores in self.scores.items()}


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
    `scores.jsonl` (every item) and `evaluation.json`.

    Raises:
        UsageError: a metric that is not known, or no such model.
        DataError: the data cannot be used as they are.
    """
    named(metrics)  # a misspelled name is told before a model is loaded
    opened = open_model(model_or_run, say=say)
    reading = opened.read(data)
    reading.refuse()
    asked = questions(opened.encoder, limited(reading.examples, limit), context_length(opened.model.config))
    if not asked:
        raise DataError(f"{data}: there is no example to evaluate on.")
    evaluation = evaluate_questions(opened, Path(data).stem, asked, metrics=metrics, settings=settings, say=say)
    if out is not None:
        _write(out, evaluation, Path(data).stem)
    return evaluation


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
    said = [f"metrics: {', '.join(f'{m.name} v{m.version}' for m in chosen)} ({why})"]
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
    (out / "evaluation.json").write_bytes(orjson.dumps(evaluation.as_dict(), option=orjson.OPT_INDENT_2) + b"\n")
