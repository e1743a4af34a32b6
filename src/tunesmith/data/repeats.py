"""What stands twice in a set of any size, contradicts itself, or nearly repeats something.

The decision: of each example a few numbers are kept (26 bytes; signatures wait in a file), so memory hardly grows with
the set. What the numbers suggest of near repetition is compared exactly in a second reading, up to a limit; beyond it,
where a whole set repeats itself, the signatures decide.
"""

import hashlib
from array import array
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from itertools import chain

import numpy as np
from numpy.typing import NDArray

from tunesmith.data.checks import Finding, find
from tunesmith.data.duplicates import content_key, prompt_text, similarity, whole_text
from tunesmith.data.example import AnyExample, Example, Origin
from tunesmith.data.near import Signatures, signatures
from tunesmith.data.split import prompt_key

# The estimate by 120 entries is off by 0.04 (one sigma) at a similarity of 0.8.
SLACK = 0.12
EXACTLY = 50_000
"""Pairs whose texts are read again and compared."""
Pair = tuple[int, int, float]


class Numbers:
    """The numbers of some examples; `whole` and `asked` tell what signatures are wanted, of examples and of prompts."""

    def __init__(self, *, whole: bool, asked: bool) -> None:
        self._wanted = {"whole": whole, "asked": asked}
        self._content, self._prompts = array("Q"), array("Q")
        self._lines, self._files = array("q"), array("H")
        self._names: dict[str, int] = {}
        self._texts: dict[str, list[str]] = {"whole": [], "asked": []}

    def look(self, example: AnyExample) -> None:
        """Note an example."""
        self._content.append(_number(content_key(example)))
        single = isinstance(example, Example) and sum(m.role == "assistant" for m in example.messages) == 1
        self._prompts.append(_number(prompt_key(example)) if single else 0)
        self._lines.append(example.origin.line)
        self._files.append(self._names.setdefault(example.origin.file, len(self._names)))
        if self._wanted["whole"]:
            self._texts["whole"].append(whole_text(example))
        if self._wanted["asked"]:
            self._texts["asked"].append(prompt_text(example))

    def arrays(self) -> dict[str, bytes]:
        """The numbers of all that has been noted, for `Repeats.take`."""
        plain = {"content": self._content, "prompts": self._prompts, "lines": self._lines, "files": self._files}
        signed = {name: signatures(texts).tobytes() for name, texts in self._texts.items()}
        return {name: numbers.tobytes() for name, numbers in plain.items()} | signed

    @property
    def names(self) -> list[str]:
        """The files that the numbers in `files` mean."""
        return list(self._names)


class Repeats:
    """The numbers of a set, taken portion by portion; used in a `with`.

    `near` tells whether near repetition will be asked for, and `held_out` are the examples that must not be trained.
    """

    def __init__(self, *, near: bool, held_out: Sequence[AnyExample] = ()) -> None:
        self._held_out = held_out
        self._content, self._prompts = array("Q"), array("Q")
        self._lines, self._files = array("q"), array("I")
        self._names: dict[str, int] = {}
        self._named: list[str] = []
        self._open = ExitStack()
        self._whole = self._open.enter_context(Signatures()) if near else None
        self._asked = self._open.enter_context(Signatures()) if near and held_out else None
        if self._asked is not None:
            self._asked.add(signatures(map(prompt_text, held_out)).tobytes())

    def __enter__(self) -> "Repeats":
        return self

    def __exit__(self, *_: object) -> None:
        self._open.close()

    def numbers(self) -> Numbers:
        """An empty note of the kind that is needed."""
        return Numbers(whole=self._whole is not None, asked=self._asked is not None)

    def take(self, names: Sequence[str], arrays: Mapping[str, bytes]) -> None:
        """Add the numbers of a portion."""
        self._content.frombytes(arrays["content"])
        self._prompts.frombytes(arrays["prompts"])
        self._lines.frombytes(arrays["lines"])
        places = np.array([self._names.setdefault(name, len(self._names)) for name in names], dtype=np.uint32)
        self._named = list(self._names)
        self._files.frombytes(places[np.frombuffer(arrays["files"], dtype=np.uint16)].tobytes())
        if self._whole is not None:
            self._whole.add(arrays["whole"])
        if self._asked is not None:
            self._asked.add(arrays["asked"])

    def exact(self) -> Iterator[Finding]:
        """The examples that repeat an earlier one, and the single-answer prompts that have another answer elsewhere."""
        first, again = self._repeated()
        for number in np.flatnonzero(again).tolist():
            yield self._finding("duplicate", number, self._origin(int(first[number])), "the same as {}.")
        prompts = np.frombuffer(self._prompts, dtype=np.uint64)
        asked = np.flatnonzero(~again & (prompts != 0))
        first_of = _first(prompts[asked])
        for place in np.flatnonzero(first_of != np.arange(len(asked))).tolist():
            earlier = self._origin(int(asked[first_of[place]]))
            yield self._finding(
                "conflicting-answers", int(asked[place]), earlier, "the prompt of {} with another answer."
            )

    def near(self, threshold: float, again: Callable[[], Iterable[AnyExample]]) -> Iterator[Finding]:
        """The examples that nearly are an earlier one, or nearly ask what a held-out one asks.

        `again` reads the set a second time.
        """
        _, repeated = self._repeated()
        within = [pair for pair in _likely(self._whole, threshold) if not (repeated[pair[0]] or repeated[pair[1]])]
        split = len(self._held_out)
        across = [(a, b - split, alike) for a, b, alike in _likely(self._asked, threshold) if a < split <= b]
        compared, asked = within[:EXACTLY], across[:EXACTLY]
        wanted = {number for a, b, _ in compared for number in (a, b)} | {number for _, number, _ in asked}
        texts = {i: example for i, example in enumerate(again()) if i in wanted} if wanted else {}
        exactly = ((a, b, similarity(whole_text(texts[a]), whole_text(texts[b]))) for a, b, _ in compared)
        for a, b, alike in _best(chain(exactly, within[EXACTLY:]), threshold):
            yield self._nearly("near-duplicate", b, self._origin(a), alike)
        exactly = ((a, b, similarity(prompt_text(self._held_out[a]), prompt_text(texts[b]))) for a, b, _ in asked)
        for a, b, alike in _best(chain(exactly, across[EXACTLY:]), threshold):
            if alike < 1:  # equal prompts have been found by their keys
                yield self._nearly("near-leak", b, self._held_out[a].origin, alike)

    def _repeated(self) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
        """Where each example stands for the first time, and whether that is earlier."""
        first = _first(np.frombuffer(self._content, dtype=np.uint64))
        return first, first != np.arange(len(first))

    def _origin(self, number: int) -> Origin:
        return Origin(self._named[self._files[number]], self._lines[number])

    def _nearly(self, name: str, number: int, other: Origin, alike: float) -> Finding:
        return self._finding(name, number, other, f"nearly the same as {{}} (similarity {alike:.2f}).")

    def _finding(self, name: str, number: int, other: Origin, message: str) -> Finding:
        return find(name, message.format(other), self._origin(number), other=other)


def _number(key: bytes) -> int:
    return int.from_bytes(hashlib.blake2b(key, digest_size=8).digest(), "little") or 1


def _first(keys: NDArray[np.uint64]) -> NDArray[np.int64]:
    """For each key the place of the first that equals it."""
    _, first, group = np.unique(keys, return_index=True, return_inverse=True)
    found: NDArray[np.int64] = first[group]
    return found


def _likely(signed: Signatures | None, threshold: float) -> Iterable[Pair]:
    return () if signed is None else signed.likely(threshold - SLACK)


def _best(pairs: Iterable[Pair], threshold: float) -> list[Pair]:
    """Of each later one the pair with the earlier one that is most alike, if it is enough, in order of the later."""
    best: dict[int, Pair] = {}
    for pair in pairs:
        if pair[2] >= threshold and pair[2] > best.get(pair[1], (0, 0, 0.0))[2]:
            best[pair[1]] = pair
    return [best[later] for later in sorted(best)]
