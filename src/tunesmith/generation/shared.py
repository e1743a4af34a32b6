"""Which prompts share a beginning long enough to be read once.

The decision: each prompt stands on one trunk or on none, and the trunks are chosen so that the most tokens are saved.
More than one trunk below a prompt would save little more, and cost an attention product per trunk at every token.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise

MINIMUM_SHARED = 16
"""A shared beginning shorter than this is read again by each prompt."""


@dataclass(frozen=True, slots=True)
class Group:
    """Prompts (their places, ascending) whose first `length` tokens are the same; 0 for a prompt by itself."""

    members: tuple[int, ...]
    length: int


@dataclass(slots=True)
class _Range:
    """Sorted prompts from `first` on that agree on `length` tokens; what its parts save and how they are grouped."""

    length: int
    first: int
    saved: int = 0
    parts: list[tuple[int, int, int]] = field(default_factory=list)

    def closed(self, last: int) -> "_Range":
        """The better of one group `first:last` and the groups of the parts."""
        whole = (last - self.first - 1) * self.length
        if whole >= self.saved:
            self.saved, self.parts = whole, [(self.first, last, self.length)]
        return self


def grouped(prompts: Sequence[Sequence[int]]) -> list[Group]:
    """Every prompt in exactly one group; at least one token of each stays outside the shared part.

    Neighbours in sorted order share the longest beginnings, so the candidates are the intervals of the array of
    common lengths, which one pass with a stack finds (Abouelhoda, Kurtz & Ohlebusch, 2004,
    https://doi.org/10.1016/S1570-8667(03)00065-0).

    >>> grouped([[1] * 20 + [5], [9], [1] * 20 + [6, 7]])
    [Group(members=(0, 2), length=20), Group(members=(1,), length=0)]
    """
    order = sorted(range(len(prompts)), key=lambda i: tuple(prompts[i]))
    parts = _best([_shared(prompts[a], prompts[b]) for a, b in pairwise(order)])
    groups = [Group(tuple(sorted(order[first:last])), length) for first, last, length in parts]
    together = {place for group in groups for place in group.members}
    return groups + [Group((place,), 0) for place in range(len(prompts)) if place not in together]


def _best(shared: Sequence[int]) -> list[tuple[int, int, int]]:
    """The (first, last, length) in sorted order that save most, when neighbours i and i + 1 share `shared[i]`."""
    open_ranges = [_Range(0, 0)]
    for here, length in enumerate([*shared, 0]):
        first = here
        while open_ranges[-1].length > length:
            done = open_ranges.pop().closed(here + 1)
            first = done.first
            if open_ranges[-1].length < length:
                open_ranges.append(_Range(length, first))
            open_ranges[-1].saved += done.saved
            open_ranges[-1].parts += done.parts
        if open_ranges[-1].length < length:
            open_ranges.append(_Range(length, first))
    return open_ranges[0].parts


def _shared(a: Sequence[int], b: Sequence[int]) -> int:
    """How many first tokens two prompts may share, one of each left; 0 if too few."""
    most = min(len(a), len(b)) - 1
    common = next((i for i in range(most) if a[i] != b[i]), most)
    return common if common >= MINIMUM_SHARED else 0
