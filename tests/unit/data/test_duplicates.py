"""Duplicates, contradictions and leaks."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tunesmith.data.contamination import Benchmark
from tunesmith.data.duplicates import exact_leaks, exact_twins, leaked, repeated, similarity
from tunesmith.data.example import Example, Message, Origin, Passage
from tunesmith.data.near import candidates, near_pairs, signatures


def _example(prompt: str, answer: str, line: int) -> Example:
    return Example((Message("user", prompt), Message("assistant", answer)), Origin("a.jsonl", line))


@pytest.mark.parametrize(
    ("a", "b", "share"),
    [
        ("", "", 1.0),
        ("", "a", 0.0),
        ("a b", "A  b", 1.0),
        ("a b c d", "a b c e", 1 / 3),
        ("a b c d", "d c b a", 0.0),
        ("one two three four five", "one two three", 1 / 3),
    ],
)
def test_similarity_is_the_share_of_common_runs(a: str, b: str, share: float) -> None:
    assert similarity(a, b) == pytest.approx(share)


@given(st.text(), st.text())
def test_similarity_is_symmetric_between_0_and_1_and_1_for_the_same(a: str, b: str) -> None:
    assert similarity(a, b) == similarity(b, a)
    assert 0 <= similarity(a, b) <= 1
    assert similarity(a, a) == 1


def test_repeated_and_contradicting_examples_point_to_the_earlier_one() -> None:
    examples = [_example("Q", "A", 1), _example("Q", "A ", 2), _example("Q", "B", 3), _example("R", "A", 4)]
    twins = exact_twins([*examples, Passage("x", Origin("t", 1)), Passage("x", Origin("t", 2))])
    assert [(t.kind, t.origin.line, t.other.line) for t in twins] == [
        ("same", 2, 1),
        ("conflict", 3, 1),
        ("same", 2, 1),
    ]


def test_a_prompt_of_training_in_the_held_out_data_is_a_leak() -> None:
    leaks = exact_leaks([_example("Q", "A", 1)], [_example("R", "A", 1), _example("Q", "other", 2)])
    assert [(t.origin.line, t.other.line) for t in leaks] == [(2, 1)]


WORDS = [f"word{i}" for i in range(20)]


def test_near_pairs_are_what_comparing_each_with_each_gives() -> None:
    chance = random.Random(3)
    texts = []
    for _ in range(15):
        text = chance.choices(WORDS, k=60)
        texts.append(" ".join(text))
        for changes in (1, 2, 20):
            copy = list(text)
            for _ in range(changes):
                copy[chance.randrange(60)] = chance.choice(WORDS)
            texts.append(" ".join(copy))
    alike = {later for later in range(len(texts)) for e in range(later) if similarity(texts[e], texts[later]) >= 0.8}
    found = near_pairs(texts, 0.8)
    assert {later for _, later, _ in found} == alike
    assert all(similarity(texts[earlier], texts[later]) == s for earlier, later, s in found)


def test_the_share_of_equal_entries_estimates_the_similarity() -> None:
    a, b = " ".join(WORDS * 10 + ["x"] * 60), " ".join(WORDS * 10 + ["y", "z"] * 30)
    equal = float((signatures([a])[0] == signatures([b])[0]).mean())
    assert abs(equal - similarity(a, b)) < 0.15
    assert (signatures([""])[0] == signatures([" "])[0]).all()


def test_long_texts_that_share_nothing_have_signatures_that_share_nothing() -> None:
    texts = [" ".join(f"{name}{i}" for i in range(100_000)) for name in "ab"]
    one, other = signatures(texts)
    assert float((one == other).mean()) < 0.03


def test_a_thousand_copies_are_a_thousand_pairs() -> None:
    assert len(list(candidates(signatures(["one and the same text"] * 1000)))) == 999


def test_near_duplicates_and_leaks_become_findings_with_both_places() -> None:
    long = " ".join(WORDS * 2)
    examples = [_example(long, "A", 1), _example(long + " end", "A", 2), _example("quite different words here", "A", 3)]
    assert [(f.name, f.line) for f in repeated(examples)] == [("near-duplicate", 2)]
    train, held_out = examples[:1], [_example(long, "B", 7), _example(long + " end", "B", 8), _example("no", "A", 9)]
    findings = leaked(train, held_out)
    assert [(f.name, f.line) for f in findings] == [("leak", 7), ("near-leak", 8)]
    assert "a.jsonl:1" in findings[1].message


def test_a_shared_system_message_makes_nothing_alike() -> None:
    system = Message("system", " ".join(WORDS * 5))
    examples = [
        Example((system, Message("user", f"item {i} {i + 1} {i + 2}"), Message("assistant", "A")), Origin("a", i))
        for i in range(9)
    ]
    assert repeated(examples) == []


def test_a_benchmark_item_inside_an_example_is_found_also_when_it_is_short() -> None:
    question = "How many apples does Janet have left after she gave four of them to her brother?"
    short = "What is the boiling point of ethanol?"
    benchmark = [_example(question, "4", 1), _example(short, "78", 2), _example("Why?", "x", 3)]
    examples = [
        _example(f"Solve: {question.upper()} Think.", "A", 1),
        _example("what is the boiling point of Ethanol", "A", 2),
        _example("Why? What is the boiling point of water?", "A", 3),
    ]
    looked = [Benchmark(benchmark, "apples").look(example) for example in examples]
    assert [(f.line, f.message) for f in looked if f is not None] == [
        (1, "it holds an item of apples: a.jsonl:1."),
        (2, "it holds an item of apples: a.jsonl:2."),
    ]
