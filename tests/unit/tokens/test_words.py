"""Words looked up give the ids that the tokenizer gives the whole text, whatever stands between them."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Regex, normalizers, pre_tokenizers

from tests.unit.tokens import tiny
from tunesmith.tokens import words
from tunesmith.tokens.words import RULES, Words, cuts_at_spaces, is_closed

MERGES = [("Ġ", "a"), ("a", "b"), ("Ġa", "b"), ("Ġ", "Ġ"), ("'", "s"), ("Ġ", "'"), ("Ċ", "Ċ"), (".", "Ċ"), ("1", "2")]
SIGNS = [
    "a",
    "b",
    "ab",
    " ",
    " ",
    "  ",
    "\n",
    "\t",
    "'s",
    "'",
    ".",
    "12",
    "é",
    "e\u0301",
    "\u0301",
    "ß",
    "語",
    "Я",
    "\0",
]
SIGNS += ["\u00a0", "\u2028", "\x1c", "\u200b", "🙂", "-", "_", "S"]  # fmt: skip


def tokenizers() -> list[tiny.Backend]:
    """One for each rule: the byte-level one, those by a pattern, one that cuts digits first, one that normalises."""
    found = [tiny.byte_level(merges=MERGES)]
    for rule in sorted(RULES):
        backend = tiny.byte_level(merges=MERGES)
        split = pre_tokenizers.Split(Regex(rule), behavior="isolated")
        bytes_alone = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
        backend.pre_tokenizer = pre_tokenizers.Sequence([split, bytes_alone])
        backend.normalizer = normalizers.NFC()
        found.append(backend)
    digits = tiny.byte_level(merges=MERGES)
    rule = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)
    digits.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.Digits(individual_digits=True), rule])
    return [*found, digits]


BACKENDS = tokenizers()
TEXT = st.lists(st.sampled_from(SIGNS), min_size=1, max_size=12).map("".join)


def made(backend: tiny.Backend) -> Words:
    return Words(lambda texts: [one.ids for one in backend.encode_batch_fast(texts, add_special_tokens=False)])


def ids(raw: bytes) -> list[int]:
    return memoryview(raw).cast("i").tolist()


@given(batches=st.lists(st.lists(TEXT, min_size=1, max_size=4), min_size=2, max_size=4))
@settings(max_examples=150, deadline=None)
def test_the_ids_are_those_of_the_whole_text_for_words_new_and_known(batches: list[list[str]]) -> None:
    for backend in BACKENDS:
        known = made(backend)
        for texts in batches:
            expected = [backend.encode(text, add_special_tokens=False).ids for text in texts]
            assert [ids(one) for one in known.ids(texts)] == expected


def test_a_word_is_made_into_tokens_once() -> None:
    asked: list[str] = []
    known = Words(lambda texts: asked.extend(texts) or [[0]] * len(texts))  # type: ignore[func-returns-value]
    for _ in range(3):
        known.ids(["one two two", "one two"])
    assert asked == ["one", " two"]


def test_the_memory_of_words_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(words, "KEPT", 10)
    known = made(BACKENDS[0])
    for i in range(50):
        assert ids(known.ids([f"a b {i}"])[0]) == BACKENDS[0].encode(f"a b {i}", add_special_tokens=False).ids
        assert len(known._known) <= 14


@pytest.mark.parametrize(
    ("word", "closed"),
    [("a", True), (" a.", True), (" é", True), (" ", False), (" a\n", False), (" \u0301a", False), ("", False)],
)
def test_a_word_stands_alone_where_no_white_space_or_mark_is_at_its_ends(word: str, closed: bool) -> None:
    assert is_closed(word) is closed


def test_only_rules_that_cut_at_every_space_count() -> None:
    assert all(cuts_at_spaces(json.loads(backend.to_str())) for backend in BACKENDS)
    others = [tiny.with_spaces(), tiny.with_spaces(scheme="first"), tiny.byte_level(split=False)]
    joining = tiny.byte_level()
    joining.pre_tokenizer = pre_tokenizers.Split(Regex("New York|\\w+"), behavior="isolated")
    prefixed = tiny.byte_level()
    prefixed.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=True)
    folding = tiny.byte_level()
    folding.normalizer = normalizers.NFKC()
    assert not any(cuts_at_spaces(json.loads(b.to_str())) for b in (*others, joining, prefixed, folding))
