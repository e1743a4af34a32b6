"""Targets: what the supervised rows of a micro-batch have to predict, and how much each counts.

The decision: a value of three flat tensors, beside the objective and what weighs it, so that neither imports the other.
"""

from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True, slots=True)
class Targets:
    """What the rows have to predict: row_of, target, weight, each [R]; all on the device of the rows."""

    row_of: Tensor
    target: Tensor
    weight: Tensor
