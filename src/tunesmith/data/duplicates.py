"""Examples that stand twice, contradict each other, or leak from one part of the data into another.

The decision: two examples are the same if prompt and answers are, white space aside; similar texts are compared by
the share of common three-word runs, a measure that anybody can check by hand.
"""

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from tunesmith.data.example import Example, Origin, Passage
from tunesmith.data.split import prompt_key

SHINGLE = 3


def shingles(text: str) -> frozenset[tuple[str, ...]]:
    """The runs of three words in a text, lower case; a shorter text is one run of all its words."""
    words = text.lower().split()
    if not words:
        return frozenset()
    return frozenset(tuple(words[i : i + SHINGLE]) for i in range(max(1, len(words) - SHINGLE + 1)))


def similarity(a: str, b: str) -> float:
    """How alike two texts are, from 0 to 1: the Jaccard index of their three-word runs (Broder 1997), case ignored.

    >>> similarity("my parcel is late", "My parcel  is late")
    1.0
    >>> similarity("one two three four", "one two three five")
    0.3333333333333333
    """
    left, right = shingles(a), shingles(b)
    if not left and not right:
        return 1.0
    return len(left & right) / len(left | right)


@dataclass(frozen=True, slots=True)
class Twin:
    """An example that repeats an earlier one: wholly (`same`), or its prompt with another answer (`conflict`)."""

    kind: Literal["same", "conflict"]
    origin: Origin
    earlier: Origin


def content_key(example: Example | Passage) -> bytes:
    """The SHA-256 of everything that is said in an example; white space counts once."""
    if isinstance(example, Passage):
        return prompt_key(example)
    parts = [
        word
        for m in example.messages
        for word in (m.role, " ".join(m.content.split()), m.reasoning or "", repr(m.tool_calls))
    ]
    return hashlib.sha256("\0".join(parts).encode("utf-8", "surrogatepass")).digest()


def exact_twins(examples: Iterable[Example | Passage]) -> list[Twin]:
    """The examples that repeat an earlier one, in order; a single-answer prompt with two answers is a conflict."""
    first_of: dict[bytes, Origin] = {}
    prompt_of: dict[bytes, Origin] = {}
    twins = []
    for example in examples:
        key = content_key(example)
        if key in first_of:
            twins.append(Twin("same", example.origin, first_of[key]))
            continue
        first_of[key] = example.origin
        if isinstance(example, Passage) or sum(m.role == "assistant" for m in example.messages) != 1:
            continue
        prompt = prompt_key(example)
        if prompt in prompt_of:
            twins.append(Twin("conflict", example.origin, prompt_of[prompt]))
        prompt_of.setdefault(prompt, example.origin)
    return twins


def exact_leaks(train: Iterable[Example | Passage], held_out: Iterable[Example | Passage]) -> list[Twin]:
    """The held-out examples whose prompt stands in the training data too, with the origin of the first that has it."""
    seen: dict[bytes, Origin] = {}
    for example in train:
        seen.setdefault(prompt_key(example), example.origin)
    return [Twin("same", example.origin, seen[key]) for example in held_out if (key := prompt_key(example)) in seen]
