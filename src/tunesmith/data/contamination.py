"""Held-out prompts and benchmark items that stand in the training data.

The decision: the measure of the GPT-3 report (Brown et al. 2020, appendix C): an item is found when one of its runs of
13 words stands in an example; an item of fewer words is found when all of it stands there, from 6 words on, because
shorter ones are found everywhere by chance. Punctuation and case are ignored.
"""

import re
from collections.abc import Iterable, Iterator, Sequence

from tunesmith.data.checks import Finding, find
from tunesmith.data.duplicates import prompt_text, whole_text
from tunesmith.data.example import AnyExample, Origin
from tunesmith.data.split import prompt_key
from tunesmith.errors import DataError

RUN = 13
SHORTEST = 6
_WORD = re.compile(r"\w+")


def words_of(text: str) -> list[str]:
    """The words of a text in lower case, without punctuation."""
    return _WORD.findall(text.lower())


class Benchmark:
    """The questions of a benchmark, ready to be looked for in examples."""

    def __init__(self, items: Iterable[AnyExample], name: str) -> None:
        self._name = name
        self._runs: dict[tuple[str, ...], Origin] = {}
        for item in items:
            words = words_of(prompt_text(item))
            length = min(RUN, len(words))
            for i in range(len(words) - length + 1 if length >= SHORTEST else 0):
                self._runs.setdefault(tuple(words[i : i + length]), item.origin)
        self._lengths = sorted({len(run) for run in self._runs})

    def look(self, example: AnyExample) -> Finding | None:
        """The finding for an example that holds the question of an item, or None."""
        item = _first(words_of(whole_text(example)), self._runs, self._lengths)
        if item is None:
            return None
        return find("contamination", f"it holds an item of {self._name}: {item}.", example.origin, other=item)


class HeldOut:
    """A set that must not be trained, ready to be looked for in examples.

    Raises:
        DataError: it is empty, so that whatever is compared with it would be found clean.
    """

    def __init__(self, name: str, examples: Sequence[AnyExample]) -> None:
        if not examples:
            raise DataError(f"{name}: there is no example in these held-out data that could be looked for.")
        self.examples = examples
        self._prompts = {prompt_key(example): example.origin for example in examples}
        self._benchmark = Benchmark(examples, name)

    def look(self, example: AnyExample) -> Iterator[Finding]:
        """The finding for an example whose prompt is held out, or that holds a question of the set."""
        held_out = self._prompts.get(prompt_key(example))
        if held_out is not None:
            message = f"its prompt stands in held-out data: {held_out}."
            yield find("leak", message, example.origin, other=held_out)
        elif (finding := self._benchmark.look(example)) is not None:
            yield finding


def _first(words: list[str], runs: dict[tuple[str, ...], Origin], lengths: list[int]) -> Origin | None:
    for length in lengths:
        for i in range(len(words) - length + 1):
            if (item := runs.get(tuple(words[i : i + length]))) is not None:
                return item
    return None
