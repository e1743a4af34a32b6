"""Selections: what is kept, what is left out, and that only content and seed decide."""

import random
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace

import pytest

from tunesmith.data.example import Example, Message, Origin, Passage
from tunesmith.data.mixture import mix, tempered
from tunesmith.data.selection import answer_of, balance, clean, dedup, diverse, sample
from tunesmith.data.split import SIDES, assign
from tunesmith.errors import UsageError

Examples = Sequence[Example | Passage]


def _example(prompt: str, answer: str = "A", line: int = 1) -> Example:
    return Example((Message("user", prompt), Message("assistant", answer)), Origin("a.jsonl", line))


def _lines(examples: Examples) -> list[int]:
    return [e.origin.line for e in examples]


CLASSES = [_example(f"question {i}", "rare" if i % 10 == 0 else "common", i) for i in range(100)]


def test_dedup_keeps_the_first_and_names_the_rest() -> None:
    long = " ".join(f"word{i}" for i in range(40))
    examples = [_example(long, line=1), _example("Q", line=2), _example(long, line=3), _example(long + " x", line=4)]
    assert _lines(dedup(examples).examples) == [1, 2, 4]
    near = dedup(examples, near=0.8)
    assert _lines(near.examples) == [1, 2]
    assert [(f.name, f.line) for f in near.findings] == [("duplicate", 3), ("near-duplicate", 4)]


@pytest.mark.parametrize(
    "choose",
    [
        lambda e: sample(e, 10, seed=3),
        lambda e: sample(e, 10, seed=3, by=answer_of),
        lambda e: diverse(e, 10, seed=3),
        lambda e: balance(e, how="under", seed=3),
        lambda e: balance(e, how="over", seed=3),
    ],
)
def test_the_order_of_the_file_does_not_matter(choose: Callable[[Examples], Examples]) -> None:
    shuffled = list(CLASSES)
    random.Random(1).shuffle(shuffled)
    assert Counter(_lines(choose(CLASSES))) == Counter(_lines(choose(shuffled)))


def test_a_larger_sample_contains_the_smaller_and_another_seed_draws_another() -> None:
    small, large = set(_lines(sample(CLASSES, 10))), set(_lines(sample(CLASSES, 20)))
    assert small < large
    assert set(_lines(sample(CLASSES, 10, seed=1))) != small
    with pytest.raises(UsageError, match="101 cannot be drawn from 100"):
        sample(CLASSES, 101)


def test_a_balanced_sample_takes_evenly_from_each_class_until_one_is_used_up() -> None:
    assert Counter(map(answer_of, sample(CLASSES, 10, by=answer_of))) == {"rare": 5, "common": 5}
    assert Counter(map(answer_of, sample(CLASSES, 50, by=answer_of))) == {"rare": 10, "common": 40}


def test_a_diverse_sample_takes_one_of_each_cluster_first() -> None:
    clusters = [" ".join(f"{name}{i}" for i in range(30)) for name in ("a", "b", "c", "d")]
    examples = [_example(f"{text} {copy}", line=c) for c, text in enumerate(clusters) for copy in range(20)]
    assert sorted(_lines(diverse(examples, 4))) == [0, 1, 2, 3]


def test_balancing_gives_each_class_the_same_number() -> None:
    assert Counter(map(answer_of, balance(CLASSES, how="over"))) == {"rare": 90, "common": 90}
    assert Counter(map(answer_of, balance(CLASSES, how="under"))) == {"rare": 10, "common": 10}
    repeated = Counter(e.origin.line for e in balance(CLASSES, how="over") if answer_of(e) == "rare")
    assert set(repeated.values()) == {9}


def test_cleaning_does_what_is_named_alone_and_lists_it() -> None:
    dirty = [_example("Q\r\n", " A ", 1), _example("Q", "B", 2), _example("Q", "I'm sorry, but I can't do that.", 3)]
    stripped = clean(dirty, ["answer-whitespace"])
    assert stripped.examples[0] == replace(dirty[0], messages=(dirty[0].messages[0], Message("assistant", "A")))
    assert stripped.examples[1:] == tuple(dirty[1:])
    both = clean(dirty, ["carriage-return", "refusal"])
    assert _lines(both.examples) == [1, 2]
    assert [(f.name, f.line) for f in both.findings] == [("carriage-return", 1), ("refusal", 3)]
    with pytest.raises(UsageError, match="no fix 'sparkle'"):
        clean(dirty, ["sparkle"])


def test_strata_have_their_share_in_each_part_and_groups_stay_together() -> None:
    keys = [f"{i // 2}".encode() for i in range(400)]
    strata = ["rare" if i // 2 % 10 == 0 else "common" for i in range(400)]
    sides = assign(keys, validation=0.1, test=0.1, strata=strata)
    assert Counter(sides) == {"train": 320, "validation": 40, "test": 40}
    assert Counter(s for s, stratum in zip(sides, strata, strict=True) if stratum == "rare") == {
        "train": 32,
        "validation": 4,
        "test": 4,
    }
    assert all(sides[i] == sides[i + 1] for i in range(0, 400, 2))
    assert set(sides) == set(SIDES)


def test_a_mixture_keeps_its_shares_at_every_point() -> None:
    sources = [[_example(f"{s} {i}", line=s * 1000 + i) for i in range(n)] for s, n in enumerate((100, 50, 7))]
    mixed = mix(sources, [0.6, 0.3, 0.1], count=200)
    assert mixed.counts == (120, 60, 20)
    assert mixed.passes == (1.2, 1.2, 20 / 7)
    for end in range(1, 201):
        taken = Counter(line // 1000 for line in _lines(mixed.examples[:end]))
        for source, share in enumerate((0.6, 0.3, 0.1)):
            assert abs(taken[source] - share * end) <= 1.0


def test_each_pass_over_a_source_uses_every_example_once_in_its_own_order() -> None:
    source = [_example(f"{i}", line=i) for i in range(20)]
    lines = _lines(mix([source], [1.0], count=40).examples)
    assert sorted(lines[:20]) == sorted(lines[20:]) == list(range(20))
    assert lines[:20] != lines[20:]


def test_a_temperature_evens_the_weights() -> None:
    assert tempered([900, 100], 1.0) == pytest.approx([0.9, 0.1])
    assert tempered([900, 100], float("inf")) == pytest.approx([0.5, 0.5])


@pytest.mark.parametrize("weights", [[1.0], [1.0, -1.0], [0.0, 0.0]])
def test_weights_that_make_no_sense_are_refused(weights: list[float]) -> None:
    with pytest.raises(UsageError, match="2 sources need as many weights"):
        mix([CLASSES, CLASSES], weights, count=10)


def test_an_empty_source_with_a_weight_is_refused() -> None:
    with pytest.raises(UsageError, match="holds no example"):
        mix([CLASSES, []], [1.0, 1.0], count=10)
