"""Precision, recall and F1 over labels, from counts that add up over items.

The decision: the classes are the labels among the references. An answer that names none of them is a miss for the true
class and nobody's false alarm. The numbers equal scikit-learn's `precision_recall_fscore_support` with `labels=` those
classes and `zero_division=0`; counts instead of calls let one bootstrap serve all metrics.
"""

from collections.abc import Callable, Sequence
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
