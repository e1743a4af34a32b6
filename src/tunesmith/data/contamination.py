"""Benchmark items that stand in the training data.

The decision: the measure of the GPT-3 report (Brown et al. 2020, appendix C): an item is found when one of its runs of
13 words stands in an example; an item of fewer words is found when all of it stands there, from 6 words on, because
shorter ones are found everywhere by chance. Punctuation and case are ignored.
"""

import re
from collections.abc import Iterable, Sequence

from tunesmith.data.checks import Finding, find
from tunesmith.data.duplicates import prompt_text, whole_text
from tunesmith.data.example import Example, Origin, Passage

RUN = 13
SHORTEST = 6
_WORD = re.compile(r"\w+")


def words_of(text: str) -> list[str]:
    """The words of a text in lower case, without punctuation."""
    return _WORD.findall(text.lower())


def contaminated(
    examples: Iterable[Example | Passage], benchmark: Sequence[Example | Passage], name: str
) -> list[Finding]:
    """A finding for each example that holds the question of an item of `benchmark`, which is called `name`."""
    runs = _runs(benchmark)
    lengths = sorted({len(run) for run in runs})
    findings = []
    for example in examples:
        words = words_of(whole_text(example))
        item = _first(words, runs, lengths)
        if item is not None:
            findings.append(find("contamination", f"it holds an item of {name}: {item}.", example.origin))
    return findings


def _runs(benchmark: Sequence[Example | Passage]) -> dict[tuple[str, ...], Origin]:
    runs: dict[tuple[str, ...], Origin] = {}
    for item in benchmark:
        words = words_of(prompt_text(item))
        if len(words) < SHORTEST:
            continue
        length = min(RUN, len(words))
        for i in range(len(words) - length + 1):
            runs.setdefault(tuple(words[i : i + length]), item.origin)
    return runs


def _first(words: list[str], runs: dict[tuple[str, ...], Origin], lengths: list[int]) -> Origin | None:
    for length in lengths:
        for i in range(len(words) - length + 1):
            if (item := runs.get(tuple(words[i : i + length]))) is not None:
                return item
    return None
