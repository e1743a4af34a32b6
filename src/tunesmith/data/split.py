"""Train / validation / test by content.

The decision: what counts is the prompt. Examples whose prompts are the same always stand on the same side, and the
side follows from a hash of the prompt, so neither the order of the file nor a seed moves anything.
"""

import hashlib
from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tunesmith.data.example import AnyExample, Message, Passage, Tokenized
from tunesmith.data.formats.roles import BEFORE
from tunesmith.errors import RecipeError

# From here on, a share above zero sets at least one example aside.
SMALL = 20
SIDES = ("train", "validation", "test")
WORD = 8


@dataclass(frozen=True, slots=True)
class Split:
    """Three parts of a data set, each in the order of the file."""

    train: tuple[AnyExample, ...]
    validation: tuple[AnyExample, ...]
    test: tuple[AnyExample, ...]


def prompt_key(example: AnyExample) -> bytes:
    """The SHA-256 of an example's prompt: its turns up to the first answer to the user; of a passage, its text; of
    tokens, those before the first that is learned.

    All branches and continuations of one conversation have the same key. White space counts once.
    """
    if isinstance(example, Tokenized):
        return hashlib.sha256(b"tokens\0" + example.ids[: first_learned(example)].tobytes()).digest()
    if isinstance(example, Passage):
        parts = ["passage", " ".join(example.text.split())]
    else:
        turns = opening(example.messages)
        parts = [word for turn in turns for word in (turn.role, " ".join(turn.content.split()))]
    return hashlib.sha256("\0".join(parts).encode("utf-8", "surrogatepass")).digest()


def first_learned(example: Tokenized) -> int:
    """The place of the first token that is learned; of tokens that are learned from the beginning, their number."""
    learned = np.flatnonzero(example.weights[1:]) + 1
    return int(learned[0]) if len(learned) and learned[0] > 1 else len(example.ids)


def opening(messages: Sequence[Message]) -> Sequence[Message]:
    """The turns before the first answer of the assistant that follows a turn of somebody else."""
    asked = False
    for i, message in enumerate(messages):
        if message.role == "assistant" and asked:
            return messages[:i]
        asked = asked or message.role not in (*BEFORE, "assistant")
    return messages


def split(examples: Iterable[AnyExample], *, validation: float, test: float) -> Split:
    """Examples set aside for choosing and for reporting, and the rest for training; see `assign` for the rule.

    Raises:
        RecipeError: a share is negative, or they leave nothing for training.
    """
    every = tuple(examples)
    sides = assign([prompt_key(example) for example in every], validation=validation, test=test)
    parts = {side: tuple(e for e, s in zip(every, sides, strict=True) if s == side) for side in SIDES}
    return Split(**parts)


def assign(
    keys: Sequence[bytes], *, validation: float, test: float, strata: Sequence[Hashable] | None = None
) -> list[str]:
    """The side of each of n examples, of which those with the same key stay together.

    The groups of a key are ordered by it. `test` takes groups from the beginning until it has `round(test * n)`
    examples, `validation` the following ones until `round(validation * n)`; a group that would go beyond is left to
    the next part. From 20 examples on, a share above zero is at least one example: if every group is larger than its
    part, the smallest group is taken. At least one group is always left for training. With `strata` (a class for each
    example; a group has that of its first one) each part has its share of each class, as evenly as numbers allow.

    Raises:
        RecipeError: a share is negative, or they leave nothing for training.
    """
    width = -(-max(map(len, keys), default=1) // WORD) * WORD
    packed = np.frombuffer(b"".join(key.ljust(width, b"\0") for key in keys), dtype=">u8").reshape(-1, width // WORD)
    return [SIDES[side] for side in assign_packed(packed, validation=validation, test=test, strata=strata).tolist()]


def assign_packed(
    keys: NDArray[np.uint64], *, validation: float, test: float, strata: Sequence[Hashable] | None = None
) -> NDArray[np.uint8]:
    """`assign` for keys as rows of big-endian words, [n, words], as indices into `SIDES`; some 60 bytes an example.

    Raises:
        RecipeError: as `assign`.
    """
    if min(validation, test) < 0 or validation + test >= 1:
        raise RecipeError(
            f"data.validation {validation} and data.test {test} are shares of data.train: "
            "each at least 0, together less than 1."
        )
    sides = np.zeros(len(keys), dtype=np.uint8)
    if not len(keys) or validation == test == 0:
        return sides
    groups = _Groups(keys)
    layers: dict[Hashable, list[int]] = {None: list(range(len(groups.sizes)))}
    if strata:
        layers = {}
        for group, first in enumerate(groups.firsts.tolist()):
            layers.setdefault(strata[first], []).append(group)
    totals = {name: int(groups.sizes[layer].sum()) for name, layer in layers.items()}
    for side, share in (("test", test), ("validation", validation)):
        for group in _held_out(layers, totals, groups.sizes, share):
            sides[groups.members(group)] = SIDES.index(side)
    return sides


class _Groups:
    """The examples of each key, the groups in order of their keys."""

    def __init__(self, keys: NDArray[np.uint64]) -> None:
        self._order = np.lexsort(keys.T[::-1])
        ordered = keys[self._order]
        self._starts = np.flatnonzero(np.append(True, (ordered[1:] != ordered[:-1]).any(axis=1)))
        self.sizes = np.diff(self._starts, append=len(keys))
        self.firsts = self._order[self._starts]

    def members(self, group: int) -> NDArray[np.int64]:
        """The places of a group's examples."""
        start = self._starts[group]
        found: NDArray[np.int64] = self._order[start : start + self.sizes[group]]
        return found


def _held_out(
    layers: dict[Hashable, list[int]], totals: dict[Hashable, int], sizes: NDArray[np.int64], share: float
) -> list[int]:
    """Remove groups with a share of every layer and give them; rounded so that the sum over the layers is right."""
    taken: list[int] = []
    examples = passed = 0
    for name in sorted(layers, key=repr):
        passed += totals[name]
        chosen = _take(layers[name], sizes, round(share * passed) - examples)
        examples += int(sizes[chosen].sum())
        taken += chosen
    if share > 0 and passed >= SMALL and not taken:
        left = [(int(sizes[group]), i, layer) for layer in layers.values() for i, group in enumerate(layer)]
        if len(left) > 1:
            _, i, layer = min(left, key=lambda place: place[0])
            taken = [layer.pop(i)]
    return taken


def _take(waiting: list[int], sizes: NDArray[np.int64], wanted: int) -> list[int]:
    """Remove from `waiting` the first groups that together hold at most `wanted` examples, but never the last group."""
    taken: list[int] = []
    for group in waiting:
        size = int(sizes[group])
        if wanted < 1 or len(waiting) - len(taken) <= 1:
            break
        if size <= wanted:
            taken.append(group)
            wanted -= size
    gone = set(taken)
    waiting[:] = [group for group in waiting if group not in gone]
    return taken
