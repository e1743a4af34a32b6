"""Generation with a real model: the answers of transformers, and a conversation that goes on."""

from typing import Any

import pytest
import torch

from tunesmith.data.example import Message
from tunesmith.generation.decode import generate
from tunesmith.generation.settings import GenerationSettings
from tunesmith.run.chat import Chat
from tunesmith.run.opened import Opened, open_model

pytestmark = pytest.mark.journey

QUESTIONS = ("What is the capital of France?", "Write one sentence about rain.", "What is 2 + 2?", "Hi!")
SHORT = GenerationSettings(max_new_tokens=24)


@pytest.fixture(scope="module")
def smollm() -> Opened:
    return open_model("smollm2-135m-instruct", say=lambda _: None)


def theirs(opened: Opened, prompt: list[int]) -> str:
    model: Any = opened.model
    ids = torch.tensor([prompt])
    answer = model.generate(
        ids, attention_mask=torch.ones_like(ids), max_new_tokens=SHORT.max_new_tokens, do_sample=False,
        eos_token_id=sorted(opened.encoder.stop_ids), pad_token_id=0,
    )[0, len(prompt) :].tolist()  # fmt: skip
    return opened.encoder.tokenizer.decode([token for token in answer if token not in opened.encoder.stop_ids])


def test_greedy_answers_under_one_instruction_are_those_of_transformers(smollm: Opened) -> None:
    system = Message("system", "Answer briefly. " + "Never guess what you do not know. " * 6)
    prompts = [smollm.encoder.prompt([system, Message("user", question)]) for question in QUESTIONS]
    answers = generate(smollm.model, prompts, settings=SHORT, stop_ids=smollm.encoder.stop_ids)
    decoded = [smollm.encoder.tokenizer.decode(answer.ids) for answer in answers]
    assert decoded == [theirs(smollm, prompt) for prompt in prompts]


def test_a_second_turn_is_answered_as_by_transformers(smollm: Opened) -> None:
    chat = Chat(smollm, settings=SHORT)
    "".join(chat.reply(QUESTIONS[0]))
    expected = theirs(smollm, smollm.encoder.prompt([*chat.messages, Message("user", "And of Italy?")]))
    assert "".join(chat.reply("And of Italy?")) == expected
