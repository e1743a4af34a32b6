from typing import Any

import pytest
import torch

from tunesmith.errors import UsageError
from tunesmith.generation import stream
from tunesmith.generation.decode import generate
from tunesmith.generation.settings import GenerationSettings
from tunesmith.generation.stream import Stream

SHORT = GenerationSettings(max_new_tokens=6)
NO_STOP: frozenset[int] = frozenset()


def whole(model: Any, prompt: list[int]) -> list[int]:
    return list(generate(model, [prompt], settings=SHORT, stop_ids=NO_STOP)[0].ids)


def test_every_turn_answers_as_its_whole_prompt_does(llama: Any) -> None:
    conversation = Stream(llama, SHORT, NO_STOP)
    first = [5, 6, 7, 8]
    answer = list(conversation.answer(first))
    goes_on = [*first, *answer, 9, 10]
    rewritten = [5, 6, 20, 21, 22]
    for prompt in (first, goes_on, rewritten, rewritten, [30]):
        assert list(conversation.answer(prompt)) == whole(llama, prompt)


def test_what_was_read_is_not_read_again(llama: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    conversation = Stream(llama, SHORT, NO_STOP)
    answer = list(conversation.answer([5, 6, 7, 8]))
    read: list[int] = []
    forward = llama.model.forward

    def counted(*args: Any, **given: Any) -> Any:
        read.append(given["input_ids"].shape[1])
        return forward(*args, **given)

    monkeypatch.setattr(llama.model, "forward", counted)
    next(conversation.answer([5, 6, 7, 8, *answer, 9]))
    assert read == [2]  # the last token of the answer was chosen and not yet read


def test_the_model_is_usable_between_two_tokens(llama: Any) -> None:
    tokens = Stream(llama, SHORT, NO_STOP).answer([5, 6])
    next(tokens)
    assert torch.is_grad_enabled()
    assert bool(llama(input_ids=torch.tensor([[1, 2]])).logits.isfinite().all())


def test_a_model_that_the_reader_refuses_answers_the_same(llama: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    expected = whole(llama, [5, 6, 7])
    monkeypatch.setattr(stream, "refusal", lambda *_, **__: "no")
    assert list(Stream(llama, SHORT, NO_STOP).answer([5, 6, 7])) == expected
    assert list(Stream(llama, SHORT, frozenset(expected[2:3])).answer([5, 6, 7])) == expected[:2]


def test_a_conversation_that_fills_the_context_is_refused(llama: Any) -> None:
    with pytest.raises(UsageError, match="The conversation has 64 tokens"):
        next(Stream(llama, SHORT, NO_STOP).answer([5] * 64))
