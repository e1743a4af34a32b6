"""One answer of a model by name, waited for: for those who ask models from a thread of their own."""

import threading
from collections.abc import Sequence
from dataclasses import dataclass

from tunesmith.data.example import Message
from tunesmith.errors import RequestError
from tunesmith.generation.settings import GenerationSettings
from tunesmith.serving.asking import Ask, End, Token
from tunesmith.serving.catalogue import Catalogue
from tunesmith.serving.constraint import Schema

PATIENCE = 600.0


@dataclass(frozen=True, slots=True)
class Written:
    """An answer, and how many tokens were read and written for it."""

    text: str
    tokens: int


def answer(
    catalogue: Catalogue, model: str, messages: Sequence[Message], schema: Schema, settings: GenerationSettings
) -> Written:
    """The next message, in the form of `schema`.

    Raises:
        RequestError: there is no such model, it has no room, or it failed.
    """
    served = catalogue.open(model)
    prompt = served.encoder.prompt(messages)
    over, ends = threading.Event(), list[End]()

    def hear(heard: Token | End) -> None:
        if isinstance(heard, End):
            ends.append(heard)
            over.set()

    form = served.grammars.of_schema(schema, "grader")
    ask = Ask(prompt, served.adapter, settings, served.encoder.stop_ids, hear, form=form)
    served.engine.ask([ask])
    if not over.wait(PATIENCE) or ends[0].reason == "error":
        ask.cancelled = True
        raise RequestError(f"The model {model} gave no answer.", status=500, code="generation_failed")
    ids = [id for id in ask.ids if id not in ask.stop_ids]
    return Written(served.encoder.tokenizer.decode(ids), len(prompt) + len(ask.ids))
