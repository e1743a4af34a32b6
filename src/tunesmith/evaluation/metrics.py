"""The metrics: each a function with a name and a version, chosen by name or guessed from the references and said aloud.

The decision: a metric turns items into `columns` [n, k], and the sums of the columns into a value. A number therefore
never depends on how the items were batched, and every metric gets its interval from the same few lines. Whoever changes
what a metric counts raises its version.
"""

import difflib
import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np

from tunesmith.errors import UsageError
from tunesmith.evaluation import choices, classes, execution, instructions, needs, overlap, parsing
from tunesmith.evaluation.intervals import Array, Value, bootstrap, wilson
from tunesmith.evaluation.item import Item
from tunesmith.evaluation.needs import Needs
from tunesmith.evaluation.parsing import NotJson


def share(sums: Array) -> Array:
    """The first sum by the second; nan where the second is 0."""
    with np.errstate(invalid="ignore", divide="ignore"):
        quotient: Array = sums[..., 0] / sums[..., 1]
    return quotient


@dataclass(frozen=True, slots=True)
class Metric:
    """One way to score items.

    Of a `proportion` each item counts 0 or 1 (so Wilson's interval and McNemar's test apply); a `mean` is that of the
    items' own scores; a `ratio` weighs the items; of `counts` one item alone has no score, and a row of the columns
    may be of several items that belong together.
    """

    name: str
    version: int
    says: str
    columns: Callable[[Sequence[Item]], Array]
    value: Value = share
    kind: Literal["proportion", "mean", "ratio", "counts"] = "mean"
    higher_is_better: bool = True
    needs: Needs = needs.nothing


@dataclass(frozen=True, slots=True)
class Score:
    """A metric's value with its 95 % interval and the number of items behind it: of pass@k, of questions."""

    value: float
    low: float
    high: float
    items: int

    def as_dict(self) -> dict[str, float | int]:
        """`{value, low, high, items}`."""
        return {"value": self.value, "low": self.low, "high": self.high, "items": self.items}


def score(metric: Metric, items: Sequence[Item]) -> Score:
    """The metric over all items; Wilson's interval for proportions, a bootstrap for the rest.

    Raises:
        UsageError: no items, or items without what the metric needs.
    """
    if not items:
        raise UsageError(f"{metric.name}: there are no items to score.")
    require([metric], items)
    columns = metric.columns(items)
    value = float(metric.value(columns.sum(0)))
    if math.isnan(value):
        raise UsageError(f"{metric.name}: the items lack what it needs ({metric.says}).")
    if metric.kind == "proportion":
        low, high = wilson(round(columns[:, 0].sum()), len(columns))
    else:
        low, high = bootstrap(columns, metric.value)
    return Score(value, low, high, len(columns))


def require(metrics: Sequence[Metric], items: Sequence[Item]) -> None:
    """Return only if each metric can be computed on these items, which need not have been answered yet.

    Raises:
        UsageError: one cannot; says on how many of them, and what they lack.
    """
    for metric in metrics:
        if (lack := metric.needs(items)) is not None:
            raise UsageError(
                f"{metric.name}: the items lack what it needs ({metric.says}): {lack}. Take a metric that suits them; "
                "`tunesmith evaluate` without --metric guesses which."
            )


def table(scores: Mapping[str, Mapping[str, Score]]) -> str:
    """The scores of tasks as lines of text, one metric each."""
    wide = max((len(task) for task in scores), default=4)
    broad = max([18, *(len(name) for of_task in scores.values() for name in of_task)])
    lines = [f"{'task':<{wide}}  {'metric':<{broad}} {'value':>8}  95 % interval         items"]
    for task, of_task in scores.items():
        for name, s in of_task.items():
            lines.append(
                f"{task:<{wide}}  {name:<{broad}} {s.value:>8.4f}  {f'{s.low:.4f} … {s.high:.4f}':<20} {s.items:>6,}"
            )
    return "\n".join(lines)


def item_scores(metrics: Sequence[Metric], items: Sequence[Item]) -> list[dict[str, float]]:
    """For each item the metrics that have a meaning for one item alone."""
    alone = [metric for metric in metrics if metric.kind != "counts"]
    tables = {metric.name: metric.value(metric.columns(items)) for metric in alone}
    return [{name: float(values[row]) for name, values in tables.items()} for row in range(len(items))]


def _mean(of_item: Callable[[Item], float]) -> Callable[[Sequence[Item]], Array]:
    def columns(items: Sequence[Item]) -> Array:
        return np.array([(of_item(item), 1.0) for item in items], dtype=np.float64).reshape(-1, 2)

    return columns


def _exact(item: Item) -> float:
    return item.answer.strip() == item.reference.strip()


def _squad_exact(item: Item) -> float:
    return parsing.squad_form(item.answer) == parsing.squad_form(item.reference)


def _accuracy(items: Sequence[Item]) -> Array:
    labels = {item.reference.strip() for item in items}
    return _mean(lambda item: parsing.label(item.answer, labels) == item.reference.strip())(items)


def _token_f1(item: Item) -> float:
    answer, reference = parsing.words(item.answer), parsing.words(item.reference)
    if not answer or not reference:
        return answer == reference
    return 2 * (answer & reference).total() / (answer.total() + reference.total())


def _json(text: str) -> Any:
    try:
        return parsing.json_value(text)
    except NotJson:
        return NotJson


def _json_match(item: Item) -> float:
    answer = _json(item.answer)
    return answer is not NotJson and parsing.same_json(answer, _json(item.reference))


def _json_schema(item: Item) -> float:
    answer, reference = _json(item.answer), _json(item.reference)
    if answer is NotJson:
        return False
    if isinstance(reference, dict) and reference.keys() & {"$schema", "properties"}:
        return parsing.fits_schema(json.loads(item.answer), json.loads(item.reference))
    return parsing.same_shape(answer, reference)


def _final_answer(item: Item) -> float:
    return parsing.final_answer(item.answer) == " ".join(item.reference.strip().rstrip(".").casefold().split())


def _json_fields(items: Sequence[Item]) -> Array:
    return np.array([_fields(_json(item.answer), _json(item.reference)) for item in items], dtype=np.float64)


def _fields(answer: Any, reference: Any) -> tuple[int, int]:
    if not isinstance(reference, dict):
        return 0, 0
    given = answer if isinstance(answer, dict) else {}
    return sum(key in given and parsing.same_json(given[key], reference[key]) for key in reference), len(reference)


def _number(item: Item) -> float:
    wanted = parsing.marked_number(item.reference)
    if wanted is not None:
        return parsing.marked_number(item.answer) == wanted
    wanted = parsing.last_number(item.reference)
    return wanted is not None and parsing.last_number(item.answer) == wanted


def _ends_with_number(item: Item) -> float:
    last = item.answer.rstrip().rpartition("\n")[2]
    return item.finished and parsing.MARKED_NUMBER.fullmatch(last.strip()) is not None


def _likelihood(per: Callable[[Item], float]) -> Callable[[Sequence[Item]], Array]:
    def columns(items: Sequence[Item]) -> Array:
        return np.array([(item.nats, per(item)) for item in items], dtype=np.float64).reshape(-1, 2)

    return columns


def _perplexity(sums: Array) -> Array:
    raised: Array = np.exp(share(sums))
    return raised


def _proportion(
    name: str, says: str, of_item: Callable[[Item], float], needs_of: Needs = needs.nothing, version: int = 1
) -> Metric:
    return Metric(name, version, says, _mean(of_item), kind="proportion", needs=needs_of)


def _ratio(
    name: str, says: str, columns: Callable[[Sequence[Item]], Array], needs_of: Needs, value: Value = share
) -> Metric:
    return Metric(name, 1, says, columns, value, kind="ratio", needs=needs_of)


def _of_likelihood(name: str, says: str, per: Callable[[Item], float], value: Value = share) -> Metric:
    return replace(_ratio(name, says, _likelihood(per), needs.likelihood, value), higher_is_better=False)


def _of_classes(part: classes.Part, average: classes.Average) -> Metric:
    says = f"{part} over the labels among the references, {average} average"
    value = classes.averaged(part, average)
    return Metric(f"{part}_{average}", 1, says, classes.counts, value, kind="counts", needs=needs.classes)


_TRIES = (1, 10, 100)
_LOOSE = "the same, a line of politeness around it and asterisks aside"
_LISTED = (
    _proportion("exact_match", "the answer is the reference, outer white space aside", _exact),
    _proportion(
        "exact_match_squad",
        "the answer is the reference, case, articles, punctuation and white space aside, as SQuAD compares",
        _squad_exact,
    ),
    Metric(
        "accuracy",
        1,
        "the answer names the reference's label and no other",
        _accuracy,
        kind="proportion",
        needs=needs.classes,
    ),
    *(_of_classes(part, average) for part in ("precision", "recall", "f1") for average in ("macro", "micro")),
    Metric("token_f1", 1, "overlap of words with the reference, as SQuAD counts it", _mean(_token_f1)),
    Metric(
        "bleu", 1, "BLEU of all items together, 0 to 100 (sacrebleu)", overlap.bleu_counts, overlap.bleu, kind="ratio"
    ),
    Metric("chrf", 1, "chrF2 of all items together, 0 to 100", overlap.chrf_counts, overlap.chrf, kind="ratio"),
    Metric("rouge1", 1, "overlap of words with the reference, F measure", overlap.rouge("rouge1")),
    Metric("rouge2", 1, "overlap of pairs of words with the reference, F measure", overlap.rouge("rouge2")),
    Metric("rougeL", 1, "longest common sequence of words with the reference, F measure", overlap.rouge("rougeL")),
    Metric("meteor_offline", 1, "METEOR by words and stems, without synonyms", overlap.meteor),
    Metric("minilm_similarity", 1, "cosine of the meanings, by the local model all-MiniLM-L6-v2", overlap.minilm),
    _ratio("entity_f1", "entities named as in the reference", overlap.entity_counts, needs.entities, overlap.entity_f1),
    _proportion("json_valid", "the whole answer is one JSON value", lambda item: _json(item.answer) is not NotJson),
    _proportion("json_match", "the answer is JSON equal to the reference", _json_match, needs.json),
    _proportion(
        "json_schema",
        "the answer is JSON that fits the reference: a schema, or a value of the same shape",
        _json_schema,
        needs.json,
    ),
    _ratio(
        "json_fields", "share of the reference's top-level fields that the answer has right", _json_fields, needs.fields
    ),
    _proportion(
        "numeric_answer", "the number after `####`, or the last one, is the reference's", _number, needs.number
    ),
    _proportion("final_answer", "what follows the last `the answer is` is the reference", _final_answer),
    _proportion(
        "code_runs",
        "the code passes the tests of its reference (runs it: TUNESMITH_RUN_CODE=1)",
        execution.code_runs,
        needs.code,
        version=2,  # 1 let answers pass that ended before their tests
    ),
    *(
        Metric(
            f"pass_at_{k}",
            2,
            f"the chance that one of {k} answers passes its tests",
            execution.pass_at_columns(k),
            kind="counts",
            needs=needs.answers(k),
        )
        for k in _TRIES
    ),
    _proportion("numeric_form", "the answer ends with a line `#### number` and stops", _ends_with_number),
    _proportion("ends_properly", "the answer stopped by the template's end token", lambda item: item.finished),
    *(
        _proportion(f"instructions_all{end}", says, instructions.all_followed(loose=bool(end)), needs.constraints)
        for end, says in (("", "the answer follows all of IFEval's instructions, as written"), ("_loose", _LOOSE))
    ),
    *(
        _ratio(f"instructions_each{end}", says, instructions.each_followed(loose=bool(end)), needs.constraints)
        for end, says in (("", "share of IFEval's instructions that are followed, as written"), ("_loose", _LOOSE))
    ),
    _proportion("choice", "the likeliest option is the right one", choices.chosen, needs.options),
    _proportion(
        "choice_normalised", "the likeliest option per byte is the right one", choices.chosen_by_byte, needs.options
    ),
    Metric(
        "calibration_error",
        1,
        "how far the probability of the chosen option is from being right so often",
        choices.confidences,
        choices.calibration,
        kind="counts",
        higher_is_better=False,
        needs=needs.options,
    ),
    _of_likelihood("loss", "nats per token of the reference", lambda item: item.targets),
    _of_likelihood("perplexity", "exp of the loss per token of the reference", lambda item: item.targets, _perplexity),
    _of_likelihood(
        "bits_per_byte",
        "loss of the reference in bits, per byte of its text; comparable between tokenizers",
        lambda item: math.log(2) * len(item.reference.encode()),
    ),
)

LIKELIHOOD = frozenset({"loss", "perplexity", "bits_per_byte"})
"""Metrics that read the likelihood of the reference and no answer."""

RUNS_CODE = frozenset({"code_runs", *(f"pass_at_{k}" for k in _TRIES)})
"""Metrics that run what the model writes."""

METRICS = {metric.name: metric for metric in _LISTED}


def named(names: Sequence[str]) -> list[Metric]:
    """The metrics of these names, in their order.

    Raises:
        UsageError: a name that is not known; says which ones are.
    """
    for name in names:
        if name not in METRICS:
            close = difflib.get_close_matches(name, METRICS, n=1)
            hint = f"Did you mean {close[0]}? " if close else ""
            raise UsageError(f"There is no metric {name!r}. {hint}Known: {', '.join(METRICS)}.")
    return [METRICS[name] for name in dict.fromkeys(names)]


def guessed(references: Sequence[str]) -> tuple[list[Metric], str]:
    """The metrics that suit these references, the deciding one first, and a sentence that says why."""
    task, why = _task(references)
    return named([*task, "ends_properly", "loss", "perplexity", "bits_per_byte"]), why


def _task(references: Sequence[str]) -> tuple[list[str], str]:
    texts = [text.strip() for text in references]
    if all(isinstance(_json(text), dict) for text in texts):
        return ["json_match", "json_fields", "json_valid", "exact_match"], "every reference is a JSON object"
    if all(parsing.marked_number(text) is not None for text in texts):
        return ["numeric_answer", "numeric_form"], "every reference ends in `#### number`"
    labels = set(texts)
    # Labels come back: a set nearly as large as the references is a list of answers, not of classes.
    if (
        1 < len(labels) <= len(texts) / 2
        and max(map(len, labels)) <= needs.LONGEST_LABEL
        and not any("\n" in text for text in labels)
    ):
        return ["accuracy", "f1_macro", "exact_match"], f"the references are {len(labels)} labels that come back"
    if max(map(len, texts)) <= 100:
        return ["exact_match", "token_f1"], "the references are short texts"
    return ["token_f1"], "the references are free text"
