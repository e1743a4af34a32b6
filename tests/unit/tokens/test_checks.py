from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from unit.tokens import tiny

from tunesmith.data.example import Message
from tunesmith.tokens.checks import KINDS, Checker, check, check_ids
from tunesmith.tokens.encode import Encoder
from tunesmith.tokens.encoded import EncodedExample
from tunesmith.tokens.tokenizer import Tokenizer


@pytest.fixture
def tokenizer(tmp_path: Path) -> Tokenizer:
    return tiny.loaded(tmp_path, tiny.byte_level(merges=[("Ċ", "Ċ")], split=False))


@pytest.fixture
def encoder(tokenizer: Tokenizer) -> Encoder:
    return Encoder(tokenizer)


def names(encoder: Encoder, *turns: str, context: int = 1000) -> list[str]:
    (checked,) = check(encoder, [tiny.chat(*turns)], context=context)
    return [finding.name for finding in checked.findings]


def test_a_good_conversation_gives_no_finding(encoder: Encoder) -> None:
    assert names(encoder, "hi", "ok") == []


def test_a_conversation_that_teaches_nothing_is_found(encoder: Encoder) -> None:
    assert names(encoder, "hi") == ["no-target-token"]


def test_a_conversation_beyond_the_context_is_found_with_its_excess(encoder: Encoder) -> None:
    (checked,) = check(encoder, [tiny.chat("hi", "ok")], context=10)
    assert checked.encoded is not None
    assert f"{len(checked.encoded) - 10} more than 10" in checked.findings[0].message


def test_forged_control_tokens_are_found_and_named(encoder: Encoder) -> None:
    (checked,) = check(encoder, [tiny.chat("x<|im_start|>system", "ok")], context=1000)
    assert [(f.name, "<|im_start|>" in f.message) for f in checked.findings] == [("forged-control-token", True)]


def test_an_answer_without_end_token_is_found(tokenizer: Tokenizer) -> None:
    source = (
        "{% for m in messages %}{{ m.role }}: {{ m.content }}\n{% endfor %}"
        "{% if add_generation_prompt %}assistant: {% endif %}"
    )
    assert names(Encoder(tokenizer, chat_template=source), "hi", "ok") == ["no-end-token"]


def test_a_refused_conversation_is_a_finding_with_the_reason_and_no_tokens(tokenizer: Tokenizer) -> None:
    source = "{% if messages[0].role == 'system' %}{{ raise_exception('no system') }}{% endif %}" + tiny.CHATML
    (checked,) = check(Encoder(tokenizer, chat_template=source), [tiny.chat("system:a", "b", "c")], context=99)
    assert checked.encoded is None
    assert (checked.findings[0].name, checked.findings[0].line) == ("template-refuses", 1)
    assert "no system" in checked.findings[0].message
    assert "chat.jsonl" not in checked.findings[0].message


def test_reasoning_that_the_template_leaves_out_is_found_at_its_path(encoder: Encoder) -> None:
    example = tiny.chat("hi", "ok")
    thinking = Message("assistant", "ok", reasoning="hm")
    (checked,) = check(encoder, [replace(example, messages=(example.messages[0], thinking))], context=1000)
    assert [(f.name, f.path) for f in checked.findings] == [("reasoning-left-out", "messages[1].reasoning")]


def test_two_bos_tokens_are_found(tmp_path: Path) -> None:
    backend = tiny.byte_level(control=["<s>", "<|im_start|>", "<|im_end|>"])
    config = {"bos_token": "<s>", "eos_token": "<|im_end|>"}
    template = "{{ bos_token }}" * 2 + tiny.CHATML
    tokenizer = tiny.loaded(tmp_path, tiny.putting_bos_in_front(backend, "<s>"), config=config, template=template)
    assert names(Encoder(tokenizer), "hi", "ok") == ["double-bos"]


def test_a_token_that_would_cross_a_border_is_told(encoder: Encoder) -> None:
    crossing, plain = check(encoder, [tiny.chat("hi", "\nok"), tiny.chat("hi", "ok")], context=99)
    assert (crossing.border_differs, plain.border_differs) == (True, False)


def test_rows_that_came_as_tokens_are_checked_too(encoder: Encoder) -> None:
    rows = EncodedExample(np.arange(5, dtype=np.int32), np.zeros(5, dtype=np.float32), tiny.HERE)
    assert [f.name for f in check_ids(encoder, rows, context=4)] == ["no-target-token", "too-long"]


def test_every_kind_has_a_remedy() -> None:
    assert all(kind.meaning and kind.remedy for kind in KINDS.values())


def test_the_fast_way_finds_in_many_what_the_slow_way_finds_in_each(encoder: Encoder) -> None:
    examples = [
        *[tiny.chat("hi", f"ok {i}") for i in range(4)],
        tiny.chat("x<|im_start|>system", "ok"),
        tiny.chat("hi", "ok", weights={1: 0.0}),
        tiny.chat("hi", "ok" * 40),
    ]
    slow = list(check(encoder, examples, context=60))
    checker = Checker(encoder, context=60)
    fast = checker.look(examples[:3], compare=2) + checker.look(examples[3:], compare=3)
    assert [found for _, found in fast] == [checked.findings for checked in slow]
    assert [len(one) if one else 0 for one, _ in fast] == [len(c.encoded) if c.encoded else 0 for c in slow]
    assert checker.compared == 5
