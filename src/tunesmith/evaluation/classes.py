"""Precision, recall and F1 over labels, from counts that add up over items.

The decision: the classes are the labels among the references. An answer that names none of them is a miss for the true
class and nobody's false alarm. The numbers equal scikit-learn's `precision_recall_fscore_support` with `labels=` those
classes and `zero_division=0`; counts instead of calls let one bootstrap serve all metrics.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from tunesmith.evaluation.intervals import Array, Value
from tunesmith.evaluation.item import Item
from tunesmith.evaluation.parsing import label

Part = Literal["precision", "recall", "f1"]
Average = Literal["macro", "micro"]


def counts(items: Sequence[Item]) -> Array:
    """[n, 3 * classes]: whether the item is a hit for the class, was given it, and is of it; classes sorted."""
    names = sorted({item.reference.strip() for item in items})
    place = {name: index for index, name in enumerate(names)}
    table = np.zeros((len(items), 3, len(names)))
    for row, item in enumerate(items):
        true, named = item.reference.strip(), label(item.answer, names)
        table[row, 2, place[true]] = 1
        if named is not None:
            table[row, 1, place[named]] = 1
            table[row, 0, place[named]] = named == true
    return table.reshape(len(items), -1)


def confusion(items: Sequence[Item]) -> tuple[list[str], list[list[int]]]:
    """The labels among the references, sorted, and how often each (row) was answered as each of them (column).

    The last column counts answers that name no label, or several.
    """
    names = sorted({item.reference.strip() for item in items})
    place = {name: index for index, name in enumerate(names)}
    table = [[0] * (len(names) + 1) for _ in names]
    for item in items:
        named = label(item.answer, names)
        table[place[item.reference.strip()]][len(names) if named is None else place[named]] += 1
    return names, table


@dataclass(frozen=True, slots=True)
class OfClass:
    """One label: of the answers that named it the share that were right, of its `support` items the share found."""

    label: str
    precision: float
    recall: float
    f1: float
    support: int


def each(items: Sequence[Item]) -> list[OfClass]:
    """Precision, recall, F1 and support of every label among the references, sorted; 0 where nothing counts."""
    names = sorted({item.reference.strip() for item in items})
    hits, named, true = counts(items).sum(0).reshape(3, -1)
    parts = zip(*(_PARTS[part](hits, named, true) for part in ("precision", "recall", "f1")), true, strict=True)
    return [
        OfClass(name, float(p), float(r), float(f), int(n)) for name, (p, r, f, n) in zip(names, parts, strict=True)
    ]


def table_of(found: Sequence[OfClass]) -> str:
    """The labels as lines of text, one each."""
    wide = max(5, *(len(one.label) for one in found))
    lines = [f"{'class':<{wide}}  precision   recall       f1  support"]
    lines += [
        f"{one.label:<{wide}}  {one.precision:>9.4f} {one.recall:>8.4f} {one.f1:>8.4f} {one.support:>8,}"
        for one in found
    ]
    return "\n".join(lines)


def excerpt(names: Sequence[str], table: Sequence[Sequence[int]], most: int) -> tuple[list[str], list[list[int]]]:
    """Of a `confusion` the `most` labels that are taken for others, or others for them, most often; in their order.

    A column before the last counts the answers that named another label, so every row still adds up.
    """
    square = np.array([row[:-1] for row in table])
    wrong = square.sum(0) + square.sum(1) - 2 * square.diagonal()
    kept = sorted(np.argsort(-wrong, kind="stable")[:most].tolist())
    rows = []
    for i in kept:
        shown = [int(square[i, j]) for j in kept]
        rows.append([*shown, int(square[i].sum()) - sum(shown), table[i][-1]])
    return [names[i] for i in kept], rows


def averaged(part: Part, average: Average) -> Value:
    """Precision, recall or F1 from summed `counts`: the mean over classes (macro), or of all items together (micro).

    Micro precision counts the answers that named a label; micro recall counts every item.
    """

    def value(sums: Array) -> Array:
        by_kind = sums.reshape(*sums.shape[:-1], 3, -1)
        if average == "micro":
            by_kind = by_kind.sum(-1, keepdims=True)
        hits, named, true = by_kind[..., 0, :], by_kind[..., 1, :], by_kind[..., 2, :]
        of_class = _PARTS[part](hits, named, true)
        mean: Array = of_class.mean(-1)
        return mean

    return value


def _share(part: Array, whole: Array) -> Array:
    return np.divide(part, whole, out=np.zeros_like(part), where=whole > 0)


_PARTS: dict[Part, Callable[[Array, Array, Array], Array]] = {
    "precision": lambda hits, named, true: _share(hits, named),
    "recall": lambda hits, named, true: _share(hits, true),
    "f1": lambda hits, named, true: _share(2 * hits, named + true),
}
