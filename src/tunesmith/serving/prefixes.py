"""Beginnings that prompts share, kept between requests.

The decision: a system prompt is found, not declared: where a prompt begins like a recent one, their common beginning
is read once as a trunk and used by all that follow. A conversation is found too: what was read for an answer is kept,
so its next turn reads only what is new. Each adapter has its own, because keys and values depend on it.
"""

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field

from tunesmith.models.decoding import Trunk

MINIMUM = 24
"""A shorter common beginning is read again."""
RECENT = 16


@dataclass(slots=True)
class _Shelf:
    trunks: list[Trunk] = field(default_factory=list)
    recent: deque[tuple[int, ...]] = field(default_factory=lambda: deque(maxlen=RECENT))


class Prefixes:
    """Trunks by adapter, the least recently used one given up first."""

    def __init__(self, most_tokens: int) -> None:
        self._most = most_tokens
        self._shelves: dict[str | None, _Shelf] = {}

    def trunk_for(self, adapter: str | None, prompt: Sequence[int]) -> Trunk | None:
        """The beginning on which `prompt` stands, or None; at least one of its tokens stays above it."""
        shelf = self._shelves.setdefault(adapter, _Shelf())
        ids = tuple(prompt)
        fitting = [trunk for trunk in shelf.trunks if _begins(ids, trunk.ids)]
        best = max(fitting, key=lambda trunk: len(trunk.ids), default=None)
        common = max((_common(ids, other) for other in shelf.recent), default=0)
        nearest = max(shelf.trunks, key=lambda trunk: _common(ids, trunk.ids), default=Trunk(()))
        known = _common(ids, nearest.ids)
        shelf.recent.append(ids)
        longest = max(common, known)
        if longest >= MINIMUM and (best is None or longest >= len(best.ids) + MINIMUM) and longest <= self._most:
            best = nearest.beginning(known) if known >= common else Trunk(ids[:common])
            shelf.trunks.append(best)
        elif best is not None:
            shelf.trunks.remove(best)
            shelf.trunks.append(best)
        self._trim()
        return best

    def keep(self, adapter: str | None, read: Trunk) -> None:
        """What was read for an answer that has ended can be the beginning of others."""
        if MINIMUM <= len(read.ids) <= self._most:
            self._shelves.setdefault(adapter, _Shelf()).trunks.append(read)
            self._trim()

    def forget(self, adapter: str | None) -> None:
        """Nothing read under this adapter is used any more."""
        self._shelves.pop(adapter, None)

    def _trim(self) -> None:
        while sum(len(trunk.ids) for shelf in self._shelves.values() for trunk in shelf.trunks) > self._most:
            shelf = max(self._shelves.values(), key=lambda shelf: sum(len(trunk.ids) for trunk in shelf.trunks))
            shelf.trunks.pop(0)


def _common(a: Sequence[int], b: Sequence[int]) -> int:
    most = min(len(a), len(b)) - 1
    return next((i for i in range(most) if a[i] != b[i]), max(most, 0))


def _begins(ids: tuple[int, ...], start: Sequence[int]) -> bool:
    return len(ids) > len(start) and ids[: len(start)] == tuple(start)
