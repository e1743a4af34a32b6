from pathlib import Path

from tunesmith.data.example import Message
from tunesmith.generation.decode import generate
from tunesmith.generation.settings import GenerationSettings
from tunesmith.run.chat import Chat
from tunesmith.run.opened import Opened, open_model

SHORT = GenerationSettings(max_new_tokens=8)


def opened(folder: Path) -> Opened:
    return open_model(str(folder), say=lambda _: None)


def expected(model: Opened, messages: list[Message]) -> str:
    prompt = model.encoder.prompt(messages)
    (answer,) = generate(model.model, [prompt], settings=SHORT, stop_ids=model.encoder.stop_ids)
    return model.encoder.tokenizer.decode(answer.ids)


def test_every_turn_is_the_answer_to_the_whole_conversation(folder: Path) -> None:
    model = opened(folder)
    chat = Chat(model, "Be kind.", SHORT)
    conversation = [Message("system", "Be kind.")]
    for question in ("hello", "and then?", "why?"):
        conversation.append(Message("user", question))
        answer = expected(model, conversation)
        assert "".join(chat.reply(question)) == answer
        conversation.append(Message("assistant", answer))
    assert chat.messages == tuple(conversation)


def test_reset_keeps_the_system_message_and_system_replaces_it(folder: Path) -> None:
    chat = Chat(opened(folder), "Be kind.", SHORT)
    first = "".join(chat.reply("hello"))
    chat.reset()
    assert chat.messages == (Message("system", "Be kind."),)
    assert "".join(chat.reply("hello")) == first
    chat.system("")
    assert not chat.messages


def test_an_answer_that_is_broken_off_stays_as_far_as_it_was_said(folder: Path) -> None:
    chat = Chat(opened(folder), None, SHORT)
    pieces = chat.reply("hello")
    said = next(pieces)
    pieces.close()  # type: ignore[attr-defined]
    assert chat.messages == (Message("user", "hello"), Message("assistant", said))
