"""Examples that stand twice, contradict each other, or leak from one part of the data into another.

The decision: two examples are the same if prompt and answers are, white space aside; similar texts are compared by
the share of common three-word runs, a measure that anybody can check by hand. System messages are left out of the
comparison: a long instruction before every question would make all of them alike.
"""

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from tunesmith.data.checks import Finding, find
from tunesmith.data.example import AnyExample, Example, Origin, Passage, Tokenized
from tunesmith.data.formats.roles import BEFORE
from tunesmith.data.split import first_learned, opening, prompt_key

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
    """An example that repeats another: wholly (`same`), nearly (`near`), or its prompt alone (`conflict`)."""

    kind: Literal["same", "near", "conflict"]
    origin: Origin
    other: Origin
    similarity: float = 1.0


def whole_text(example: AnyExample) -> str:
    """What is said in an example, system messages left out; of tokens, their ids as words."""
    if isinstance(example, Passage):
        return example.text
    if isinstance(example, Tokenized):
        return " ".join(map(str, example.ids.tolist()))
    return "\n".join(m.content for m in example.messages if m.role not in BEFORE)


def prompt_text(example: AnyExample) -> str:
    """What is said before the first answer, system messages left out; of a passage, all of it."""
    if isinstance(example, Passage):
        return example.text
    if isinstance(example, Tokenized):
        return " ".join(map(str, example.ids[: first_learned(example)].tolist()))
    return "\n".join(m.content for m in opening(example.messages) if m.role not in BEFORE)


def content_key(example: AnyExample) -> bytes:
    """The SHA-256 of everything that is said in an example; white space counts once."""
    if isinstance(example, Passage):
        return prompt_key(example)
    if isinstance(example, Tokenized):
        return hashlib.sha256(example.ids.tobytes() + example.weights.tobytes()).digest()
    parts = [
        word
        for m in example.messages
        for word in (m.role, " ".join(m.content.split()), m.reasoning or "", repr(m.tool_calls))
    ]
    return hashlib.sha256("\0".join(parts).encode("utf-8", "surrogatepass")).digest()


def exact_twins(examples: Iterable[AnyExample]) -> list[Twin]:
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
        if not isinstance(example, Example) or sum(m.role == "assistant" for m in example.messages) != 1:
            continue
        prompt = prompt_key(example)
        if prompt in prompt_of:
            twins.append(Twin("conflict", example.origin, prompt_of[prompt]))
        prompt_of.setdefault(prompt, example.origin)
    return twins


def near_twins(examples: Sequence[AnyExample], threshold: float = 0.8) -> list[Twin]:
    """The examples that are nearly, but not wholly, what an earlier one is."""
    from tunesmith.data.near import near_pairs

    pairs = near_pairs([whole_text(example) for example in examples], threshold)
    keys = [content_key(example) for example in examples]
    return [
        Twin("near", examples[later].origin, examples[earlier].origin, alike)
        for earlier, later, alike in pairs
        if keys[earlier] != keys[later]
    ]


def exact_leaks(train: Iterable[AnyExample], held_out: Iterable[AnyExample]) -> list[Twin]:
    """The held-out examples whose prompt stands in the training data too, with the origin of the first that has it."""
    seen: dict[bytes, Origin] = {}
    for example in train:
        seen.setdefault(prompt_key(example), example.origin)
    return [Twin("same", example.origin, seen[key]) for example in held_out if (key := prompt_key(example)) in seen]


def near_leaks(train: Sequence[AnyExample], held_out: Sequence[AnyExample], threshold: float = 0.8) -> list[Twin]:
    """The held-out examples whose prompt is nearly, but not wholly, one of the training data."""
    from tunesmith.data.near import candidates, signatures

    every = [*train, *held_out]
    texts = [prompt_text(example) for example in every]
    best: dict[int, Twin] = {}
    for earlier, later in candidates(signatures(texts)):
        if earlier >= len(train) or later < len(train):
            continue
        alike = similarity(texts[earlier], texts[later])
        known = best.get(later)
        if alike >= threshold and (known is None or alike > known.similarity):
            best[later] = Twin("near", every[later].origin, every[earlier].origin, alike)
    exact = {twin.origin for twin in exact_leaks(train, held_out)}
    return [best[i] for i in sorted(best) if best[i].origin not in exact]


def repeated(examples: Sequence[AnyExample], threshold: float | None = 0.8) -> list[Finding]:
    """Findings for duplicates, contradictions and, from a similarity of `threshold` on, near duplicates in one set."""
    findings = []
    near = near_twins(examples, threshold) if threshold is not None else []
    for twin in (*exact_twins(examples), *near):
        if twin.kind == "same":
            message = f"the same as {twin.other}."
            findings.append(find("duplicate", message, twin.origin))
        elif twin.kind == "conflict":
            message = f"the prompt of {twin.other} with another answer."
            findings.append(find("conflicting-answers", message, twin.origin))
        else:
            message = f"nearly the same as {twin.other} (similarity {twin.similarity:.2f})."
            findings.append(find("near-duplicate", message, twin.origin))
    return findings


def leaked(train: Sequence[AnyExample], held_out: Sequence[AnyExample], threshold: float = 0.8) -> list[Finding]:
    """Findings for held-out examples that training sees, exactly or nearly."""
    exact = [find("leak", f"its prompt is trained: {t.other}.", t.origin) for t in exact_leaks(train, held_out)]
    near = [
        find("near-leak", f"its prompt is nearly one that is trained: {t.other} ({t.similarity:.2f}).", t.origin)
        for t in near_leaks(train, held_out, threshold)
    ]
    return exact + near
