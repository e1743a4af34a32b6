"""Train / validation / test by content.

The decision: what counts is the prompt. Examples whose prompts are the same always stand on the same side, and the
side follows from a hash of the prompt, so neither the order of the file nor a seed moves anything.
"""

import hashlib
from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from tunesmith.data.example import AnyExample, Message, Passage, Tokenized
from tunesmith.data.formats.roles import BEFORE
from tunesmith.errors import RecipeError

# From here on, a share above zero sets at least one example aside.
SMALL = 20
SIDES = ("train", "validation", "test")


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
    if min(validation, test) < 0 or validation + test >= 1:
        raise RecipeError(
            f"data.validation {validation} and data.test {test} are shares of data.train: "
            "each at least 0, together less than 1."
        )
    groups: dict[bytes, list[int]] = {}
    for i, key in enumerate(keys):
        groups.setdefault(key, []).append(i)
    layers: dict[Hashable, list[list[int]]] = {}
    for key in sorted(groups):
        layers.setdefault(strata[groups[key][0]] if strata else None, []).append(groups[key])
    sizes = {name: sum(map(len, layer)) for name, layer in layers.items()}
    sides = ["train"] * len(keys)
    for side, share in (("test", test), ("validation", validation)):
        for i in _held_out(layers, sizes, share):
            sides[i] = side
    return sides


def _held_out(layers: dict[Hashable, list[list[int]]], sizes: dict[Hashable, int], share: float) -> list[int]:
    """Remove a share of every layer and give it; rounded so that the sum over the layers is right."""
    taken: list[int] = []
    passed = 0
    for name in sorted(layers, key=repr):
        passed += sizes[name]
        taken += _take(layers[name], round(share * passed) - len(taken))
    if share > 0 and passed >= SMALL and not taken:
        left = [(len(group), i, layer) for layer in layers.values() for i, group in enumerate(layer)]
        if len(left) > 1:
            _, i, layer = min(left, key=lambda place: place[0])
            taken = layer.pop(i)
    return taken


def _take(waiting: list[list[int]], wanted: int) -> list[int]:
    """Remove from `waiting` the first groups that together hold at most `wanted` examples, but never the last group."""
    taken: list[int] = []
    left: list[list[int]] = []
    for i, group in enumerate(waiting):
        remain = len(left) + len(waiting) - i > 1
        if remain and len(taken) + len(group) <= wanted:
            taken += group
        else:
            left.append(group)
    waiting[:] = left
    return taken
