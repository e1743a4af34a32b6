"""Making a set better: without repetitions, smaller, balanced, cleaned.

The decision: each function gives the examples that are kept and a finding for each that was left out or changed, and
chance is a hash of the seed and the example's content, so neither the order of the file nor the machine matters.
"""

import hashlib
from collections import defaultdict
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from tunesmith.data.checks import Finding, find
from tunesmith.data.contamination import HeldOut
from tunesmith.data.duplicates import content_key, exact_twins, near_leaks, near_twins, whole_text
from tunesmith.data.example import AnyExample, Example, Message
from tunesmith.data.near import signatures
from tunesmith.data.survey import REFUSAL
from tunesmith.errors import UsageError

Examples = Sequence[AnyExample]


@dataclass(frozen=True, slots=True)
class Selection:
    """What was kept, in order, and a finding for each example that was left out or changed."""

    examples: tuple[AnyExample, ...]
    findings: tuple[Finding, ...]


def lot(example: AnyExample, seed: int, copy: int = 0) -> bytes:
    """A number drawn for an example: a hash of the seed, what it says, and which of its copies this is."""
    return hashlib.blake2b(content_key(example) + f"{seed}/{copy}".encode(), digest_size=16).digest()


def dedup(examples: Examples, *, near: float | None = None) -> Selection:
    """The examples without those that repeat an earlier one; with `near`, nor those that are so alike to one kept."""
    gone = {twin.origin: twin for twin in exact_twins(examples) if twin.kind == "same"}
    rest = [example for example in examples if example.origin not in gone]
    if near is not None:
        for twin in near_twins(rest, near):
            # What is alike only to an example that goes itself is kept.
            if twin.other not in gone:
                gone[twin.origin] = twin
    findings = [
        find("duplicate" if t.kind == "same" else "near-duplicate", f"left out: repeats {t.other}.", t.origin)
        for t in gone.values()
    ]
    return Selection(tuple(e for e in examples if e.origin not in gone), tuple(findings))


def apart(examples: Examples, held_out: Mapping[str, Examples], *, near: float | None = None) -> Selection:
    """The examples without those whose prompt stands in one of the held-out sets, or that hold a question of one; with
    `near`, nor those whose prompt is so alike to one held out.
    """
    sets = [HeldOut(name, others) for name, others in held_out.items()]
    gone = {example.origin: f for example in examples for held in sets for f in held.look(example)}
    if near is not None:
        every = [example for others in held_out.values() for example in others]
        for twin in near_leaks(every, examples, near):
            message = f"its prompt is nearly one that is held out: {twin.other} ({twin.similarity:.2f})."
            gone.setdefault(twin.origin, find("near-leak", message, twin.origin, other=twin.other))
    findings = [replace(f, message=f"left out: {f.message}") for f in gone.values()]
    return Selection(tuple(e for e in examples if e.origin not in gone), tuple(findings))


def answer_of(example: AnyExample) -> str:
    """The class of an example: its last answer, "" for plain text and ready tokens."""
    if not isinstance(example, Example):
        return ""
    return next((m.content.strip() for m in reversed(example.messages) if m.role == "assistant"), "")


def sample(
    examples: Examples, count: int, *, seed: int = 0, by: Callable[[AnyExample], Hashable] | None = None
) -> tuple[AnyExample, ...]:
    """`count` examples drawn by lot, in the order of the file; with `by`, as evenly from each group as it allows.

    A larger sample with the same seed contains the smaller one.

    Raises:
        UsageError: there are fewer examples.
    """
    _enough(examples, count)
    drawn = sorted(range(len(examples)), key=lambda i: lot(examples[i], seed))
    if by is not None:
        turn: defaultdict[Hashable, int] = defaultdict(int)
        rounds = {}
        for i in drawn:
            group = by(examples[i])
            rounds[i] = turn[group]
            turn[group] += 1
        drawn.sort(key=rounds.__getitem__)
    return tuple(examples[i] for i in sorted(drawn[:count]))


def _enough(examples: Examples, count: int) -> None:
    if not 0 < count <= len(examples):
        raise UsageError(f"a sample of {count} cannot be drawn from {len(examples)} examples.")


def diverse(examples: Examples, count: int, *, seed: int = 0) -> tuple[AnyExample, ...]:
    """`count` examples that are far from each other, in the order of the file.

    Greedy k-center (Gonzalez 1985): the next one is always that which is least alike the nearest one chosen, by the
    MinHash estimate of similarity. Time grows with len(examples) * count.

    Raises:
        UsageError: there are fewer examples.
    """
    _enough(examples, count)
    # In the order of the lot, so that among equals the lot decides and not the file.
    order = sorted(range(len(examples)), key=lambda i: lot(examples[i], seed))
    signed = signatures(whole_text(examples[i]) for i in order)
    chosen = [0]
    nearest = _alike(signed, 0)
    while len(chosen) < count:
        nearest[chosen[-1]] = np.inf
        chosen.append(int(nearest.argmin()))
        np.maximum(nearest, _alike(signed, chosen[-1]), out=nearest)
    return tuple(examples[i] for i in sorted(order[place] for place in chosen))


def _alike(signed: NDArray[np.uint16], one: int) -> NDArray[np.float64]:
    agree: NDArray[np.float64] = np.mean(signed == signed[one], axis=1, dtype=np.float64)
    return agree


def balance(
    examples: Examples,
    *,
    by: Callable[[AnyExample], Hashable] = answer_of,
    how: Literal["over", "under"] = "over",
    seed: int = 0,
) -> tuple[AnyExample, ...]:
    """As many examples of each class: `over` repeats those of the rare ones, `under` leaves out of the frequent ones.

    Of a rare class every example is repeated as often as the others, but for a last round drawn by lot.
    """
    groups: defaultdict[Hashable, list[int]] = defaultdict(list)
    for i, example in enumerate(examples):
        groups[by(example)].append(i)
    sizes = [len(group) for group in groups.values()]
    wanted = (max if how == "over" else min)(sizes, default=0)
    kept = []
    for group in groups.values():
        drawn = sorted(group, key=lambda i: lot(examples[i], seed))
        kept += (drawn * -(-wanted // len(drawn)))[:wanted]
    return tuple(examples[i] for i in sorted(kept))


def _each_text(change: Callable[[str], str], *, answers_only: bool) -> Callable[[Example], Example | None]:
    def fix(example: Example) -> Example:
        return replace(example, messages=tuple(_changed(m, change, answers_only) for m in example.messages))

    return fix


def _changed(message: Message, change: Callable[[str], str], answers_only: bool) -> Message:
    if answers_only and message.role != "assistant":
        return message
    text = change(message.content)
    return message if text == message.content else replace(message, content=text)


def _without_refusal(example: Example) -> Example | None:
    refuses = any(m.role == "assistant" and REFUSAL.match(m.content.lstrip()) for m in example.messages)
    return None if refuses else example


FIXES: Mapping[str, tuple[str, Callable[[Example], Example | None]]] = {
    "answer-whitespace": ("white space around answers is removed", _each_text(str.strip, answers_only=True)),
    "carriage-return": (
        "Windows line ends become \\n",
        _each_text(lambda text: text.replace("\r\n", "\n").replace("\r", "\n"), answers_only=False),
    ),
    "nul-character": (
        "NUL characters are removed",
        _each_text(lambda text: text.replace("\0", ""), answers_only=False),
    ),
    "refusal": ("examples whose answer refuses are left out", _without_refusal),
}
"""The fixes by the name of the finding that they answer: what is done, and how."""


def clean(examples: Examples, fixes: Sequence[str]) -> Selection:
    """The examples after the named fixes, with a finding for each that was changed or left out.

    Raises:
        UsageError: there is no such fix.
    """
    unknown = [name for name in fixes if name not in FIXES]
    if unknown:
        raise UsageError(f"there is no fix {unknown[0]!r}; known are {', '.join(FIXES)}.")
    kept: list[AnyExample] = []
    findings = []
    for example in examples:
        current: Example | None = example if isinstance(example, Example) else None
        for name in fixes if current is not None else ():
            fixed = FIXES[name][1](current) if current is not None else None
            if fixed != current:
                findings.append(find(name, f"cleaned: {FIXES[name][0]}.", example.origin))
            current = fixed
        if not isinstance(example, Example):
            kept.append(example)
        elif current is not None:
            kept.append(current)
    return Selection(tuple(kept), tuple(findings))
