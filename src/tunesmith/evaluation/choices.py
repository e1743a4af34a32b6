"""Whether the right option was the likeliest, and how far the model's sureness of it can be believed.

The decision: everything is read from the log-probabilities of the options that an item keeps; items that were written
freely have none, and are refused before they get here (`needs`).
"""

import math
from collections.abc import Sequence

import numpy as np

from tunesmith.evaluation.intervals import Array
from tunesmith.evaluation.item import Item

_BINS = 10


def chosen(item: Item) -> float:
    """Whether the answer, which is the likeliest option, is the right one."""
    return bool(item.options) and item.answer == item.reference


def chosen_by_byte(item: Item) -> float:
    """Whether the right option is the likeliest per byte of its text."""
    of_byte = {text: nats / max(len(text.encode()), 1) for text, nats in item.options.items()}
    return bool(of_byte) and max(of_byte, key=of_byte.__getitem__) == item.reference


def confidences(items: Sequence[Item]) -> Array:
    """[n, 3 * bins]: for the bin of the answer's share among its options, 1, that share, and whether it is right."""
    table = np.zeros((len(items), 3, _BINS))
    for row, item in enumerate(items):
        if not item.options:
            table[row] = math.nan
            continue
        nats = np.array(list(item.options.values()))
        share_of_best = float(1 / np.exp(nats - nats.max()).sum())
        place = min(int(share_of_best * _BINS), _BINS - 1)
        table[row, :, place] = 1, share_of_best, item.answer == item.reference
    return table.reshape(len(items), -1)


def calibration(sums: Array) -> Array:
    """Expected calibration error (Guo et al., 2017, https://arxiv.org/abs/1706.04599), ten bins of equal width."""
    count, confidence, right = np.moveaxis(sums.reshape(*sums.shape[:-1], 3, _BINS), -2, 0)
    error: Array = np.abs(confidence - right).sum(-1) / count.sum(-1)
    return error
