"""Train / validation / test by content.

The decision: what counts is the prompt. Examples whose prompts are the same always stand on the same side, and the
side follows from a hash of the prompt, so neither the order of the file nor a seed moves anything.
"""

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from tunesmith.data.example import Example, Message, Passage
from tunesmith.data.formats.roles import BEFORE
from tunesmith.errors import RecipeError

# From here on, a share above zero sets at least one example aside.
SMALL = 20


@dataclass(frozen=True, slots=True)
class Split:
    """Three parts of a data set, each in the order of the file."""

    train: tuple[Example | Passage, ...]
    validation: tuple[Example | Passage, ...]
    test: tuple[Example | Passage, ...]


def prompt_key(example: Example | Passage) -> bytes:
    """The SHA-256 of an example's prompt: its turns up to the first answer to the user; of a passage, its text.

    All branches and continuations of one conversation have the same key. White space counts once.
    """
    if isinstance(example, Passage):
        parts = ["passage", " ".join(example.text.split())]
    else:
        turns = opening(example.messages)
        parts = [word for turn in turns for word in (turn.role, " ".join(turn.content.split()))]
    return hashlib.sha256("\0".join(parts).encode("utf-8", "surrogatepass")).digest()


def opening(messages: Sequence[Message]) -> Sequence[Message]:
    """The turns before the first answer of the assistant that follows a turn of somebody else."""
    asked = False
    for i, message in enumerate(messages):
        if message.role == "assistant" and asked:
            return messages[:i]
        asked = asked or message.role not in (*BEFORE, "assistant")
    return messages


def split(examples: Iterable[Example | Passage], *, validation: float, test: float) -> Split:
    """Examples set aside for choosing and for reporting, and the rest for training.

    The examples are grouped by `prompt_key`, and the groups ordered by it. `test` takes groups from the beginning
    until it has `round(test * n)` examples, `validation` the following ones until `round(validation * n)`; a group
    that would go beyond is left to the next part. From 20 examples on, a share above zero is at least one example: if
    every group is larger than its part, the smallest group is taken. At least one group is always left for training.

    Raises:
        RecipeError: a share is negative, or they leave nothing for training.
    """
    if min(validation, test) < 0 or validation + test >= 1:
        raise RecipeError(
            f"data.validation {validation} and data.test {test} are shares of data.train: "
            "each at least 0, together less than 1."
        )
    every = tuple(examples)
    groups: dict[bytes, list[int]] = {}
    for i, example in enumerate(every):
        groups.setdefault(prompt_key(example), []).append(i)
    waiting = [groups[key] for key in sorted(groups)]
    held_out = []
    for share in (test, validation):
        wanted = round(share * len(every))
        if share > 0 and len(every) >= SMALL:
            wanted = max(1, wanted)
        held_out.append(_take(waiting, wanted))
    aside = {i for part in held_out for i in part}
    parts = [tuple(every[i] for i in sorted(part)) for part in held_out]
    train = tuple(example for i, example in enumerate(every) if i not in aside)
    return Split(train=train, validation=parts[1], test=parts[0])


def _take(waiting: list[list[int]], wanted: int) -> list[int]:
    """Remove from `waiting` the first groups that together hold `wanted` examples, but never the last group."""
    taken: list[int] = []
    left: list[list[int]] = []
    for i, group in enumerate(waiting):
        remain = len(left) + len(waiting) - i > 1
        if remain and len(taken) + len(group) <= wanted:
            taken += group
        else:
            left.append(group)
    if wanted and not taken and len(left) > 1:
        smallest = min(range(len(left)), key=lambda i: len(left[i]))
        taken = left.pop(smallest)
    waiting[:] = left
    return taken
