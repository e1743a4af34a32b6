"""The sample of a set is even, and the same however often the pass was interrupted."""

import numpy as np
import pytest

from tunesmith.data.example import Origin
from tunesmith.data.portions import unpack
from tunesmith.run import tally
from tunesmith.run.tally import Portion, Sample
from tunesmith.tokens.encoded import EncodedExample


def _one(number: int) -> EncodedExample:
    ids = np.arange(number % 3 + 2, dtype=np.int32) + number
    return EncodedExample(ids, np.ones(len(ids), np.float32), Origin("a.jsonl", number + 1))


def _portion(sample: Sample, start: int, end: int) -> bytes:
    portion = Portion(sample.following())
    for number in range(start, end):
        portion.book([_one(number)], (), Origin("a.jsonl", number + 1))
    portion.close()
    return portion.told(end - start)


def _taken(count: int, size: int) -> list[EncodedExample]:
    sample = Sample()
    for start in range(0, count, size):
        sample.take(*unpack(_portion(sample, start, min(count, start + size))))
    return sample.examples()


def test_of_few_examples_all_are_the_sample() -> None:
    found = _taken(50, 20)
    assert [one.origin.line for one in found] == list(range(1, 51))
    assert all((a.ids == _one(i).ids).all() and (a.weights == 1).all() for i, a in enumerate(found))


def test_of_many_examples_the_sample_is_even_and_holds_the_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tally, "SAMPLE", 300)
    lines = [one.origin.line for one in _taken(6000, 200)]
    assert lines[:3] == [1, 2, 3]
    assert len(lines) == 300
    quarters = np.histogram(lines, bins=4, range=(0, 6000))[0]
    assert quarters.min() > 50  # 75 are expected, with a deviation of 7.5
