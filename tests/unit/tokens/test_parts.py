"""Parts of an answer count as they are told to, and change no token."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from unit.tokens import tiny

from tunesmith.data.example import Example, Tokenized
from tunesmith.errors import TemplateError
from tunesmith.tokens.checks import check, check_tokenized
from tunesmith.tokens.encode import Encoder
from tunesmith.tokens.tokenizer import Tokenizer


@pytest.fixture
def tokenizer(tmp_path: Path) -> Tokenizer:
    return tiny.loaded(tmp_path, tiny.byte_level(merges=[("o", "k")], split=False))


def with_parts(example: Example, *parts: tuple[int, int, float]) -> Example:
    return replace(example, messages=(*example.messages[:-1], replace(example.messages[-1], parts=parts)))


def weights_by_token(tokenizer: Tokenizer, example: Example) -> list[tuple[str, float]]:
    """The tokens behind the prompt with their weights."""
    encoder = Encoder(tokenizer)
    encoded = encoder.encode(example)
    start = len(encoder.prompt(example.messages[:-1]))
    pairs = zip(encoded.ids[start:], encoded.weights[start:], strict=True)
    return [(tokenizer.decode([int(id_)]), float(weight)) for id_, weight in pairs]


def test_parts_count_as_told_and_the_end_token_as_the_turn(tokenizer: Tokenizer) -> None:
    found = weights_by_token(tokenizer, with_parts(tiny.chat("hi", "abc"), (0, 1, 0.0), (2, 3, 0.5)))
    assert found == [("a", 0.0), ("b", 1.0), ("c", 0.5), ("<|im_end|>", 1.0), ("\n", 0.0)]


def test_parts_are_no_answers_without_an_end(tokenizer: Tokenizer) -> None:
    parted = with_parts(tiny.chat("hi", "abc"), (0, 1, 0.0), (2, 3, 0.0))
    muted = replace(
        parted, messages=(parted.messages[0], replace(parted.messages[1], weight=0.0, parts=((1, 2, 1.0),)))
    )
    both = check(Encoder(tokenizer), [parted, muted], context=100)
    assert [[finding.name for finding in checked.findings] for checked in both] == [[], ["no-end-token"]]


def test_parts_change_no_token(tokenizer: Tokenizer) -> None:
    plain = tiny.chat("hi", "ok ok")
    split = with_parts(plain, (0, 1, 0.0), (1, 5, 1.0))
    encoder = Encoder(tokenizer)
    assert encoder.encode(split).ids.tolist() == encoder.encode(plain).ids.tolist()


def test_a_token_in_which_two_parts_meet_counts_by_its_characters(tokenizer: Tokenizer) -> None:
    found = weights_by_token(tokenizer, with_parts(tiny.chat("hi", "ok"), (0, 1, 0.0), (1, 2, 1.0)))
    assert found[0] == ("ok", 0.5)


def test_parts_of_a_turn_of_weight_zero_are_learned_alone(tokenizer: Tokenizer) -> None:
    example = with_parts(tiny.chat("hi", "abc"), (1, 2, 2.0))
    example = replace(example, messages=(example.messages[0], replace(example.messages[1], weight=0.0)), weight=0.5)
    assert [weight for _, weight in weights_by_token(tokenizer, example)] == [0.0, 1.0, 0.0, 0.0, 0.0]


def test_parts_count_characters_before_a_template_trims(tmp_path: Path) -> None:
    template = tiny.CHATML.replace("message['content']", "message['content'] | trim")
    tokenizer = tiny.loaded(tmp_path, tiny.byte_level(), template=template)
    found = weights_by_token(tokenizer, with_parts(tiny.chat("hi", "  abé "), (0, 3, 0.0), (4, 6, 3.0)))
    assert [weight for _, weight in found] == [0.0, 1.0, 3.0, 3.0, 1.0, 0.0]


def test_parts_that_a_template_takes_apart_are_refused(tmp_path: Path) -> None:
    template = tiny.CHATML.replace("message['content']", "message['content'].split('b') | join('b')")
    encoder = Encoder(tiny.loaded(tmp_path, tiny.byte_level(), template=template))
    with pytest.raises(TemplateError, match="as it stands"):
        encoder.encode(with_parts(tiny.chat("hi", "abc"), (0, 1, 0.0)))


@pytest.mark.parametrize("scheme", ["prepend", "first"])
def test_ends_are_those_of_the_ids_for_tokenizers_that_add_a_space(tmp_path: Path, scheme: str) -> None:
    tokenizer = tiny.loaded(tmp_path, tiny.with_spaces(scheme=scheme))
    for after in ("start", "control", "text"):
        ids, ends = tokenizer.ends("ab<s>cd", after)
        assert ids == tokenizer.encode_batch([("ab<s>cd", after)])[0].tolist()
        assert ends[-1] == 7
        assert ends == sorted(ends)


def test_ready_tokens_are_trained_as_they_are(tokenizer: Tokenizer) -> None:
    encoder = Encoder(tokenizer)
    conversation = encoder.encode(tiny.chat("hi", "ok"))
    row = Tokenized(conversation.ids.astype(np.int64), conversation.weights, tiny.HERE)
    encoded = encoder.tokenized(row)
    assert encoded.ids.tolist() == conversation.ids.tolist()
    assert encoded.weights.tolist() == conversation.weights.tolist()
    assert not check_tokenized(encoder, row, context=100).findings


def test_what_is_wrong_with_ready_tokens_is_found(tokenizer: Tokenizer) -> None:
    encoder = Encoder(tokenizer)

    def names(ids: list[int], weights: list[float]) -> list[str]:
        row = Tokenized(np.array(ids), np.array(weights, dtype=np.float32), tiny.HERE)
        return [finding.name for finding in check_tokenized(encoder, row, context=4).findings]

    assert names([1, 10**6], [0, 1]) == ["unknown-token-id"]
    assert names([1, 2, 3], [0, 0, 1]) == ["no-end-token"]
    assert names([1, 2], [1, 0]) == ["no-target-token"]
    assert names([1, 2, 3, 4, 5], [0, 0, 0, 0, 0]) == ["no-target-token", "too-long"]
