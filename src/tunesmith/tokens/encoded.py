"""EncodedExample: what the rest of the house knows of an example.

The decision: supervision is a weight per *target*, never a mask shifted against the ids: `weights[i]` says how much
predicting `ids[i]` from everything before it counts. The first token has nothing before it, so `weights[0]` is 0.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tunesmith.data.example import Origin


@dataclass(frozen=True, slots=True, eq=False)
class EncodedExample:
    """Token ids (int32, [n]) and one weight per target (float32, [n], `weights[0] == 0`)."""

    ids: NDArray[np.int32]
    weights: NDArray[np.float32]
    origin: Origin

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def needed(self) -> NDArray[np.int32]:
        """The ids that have to be computed: the last target is predicted by the one before it, and nothing by the rest.

        All of them where there is no target.

        >>> EncodedExample(np.arange(5), np.array([0, 0, 1, 1, 0]), Origin("made", 1)).needed
        array([0, 1, 2])
        """
        targets = np.flatnonzero(self.weights > 0)
        return self.ids[: targets[-1]] if len(targets) else self.ids

    @property
    def target_weight(self) -> float:
        """The summed weight of all targets; 0 means that the example teaches nothing."""
        return float(self.weights.sum(dtype=np.float64))
