"""Questions: what of an example is asked, and what was hoped for.

The decision: the reference is the last assistant turn and the prompt is everything before it, whatever else the example
holds. The prompt ids are those that were trained and will be served.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from tunesmith.data.example import AnyExample, Example, Message, Origin, Passage, Tokenized
from tunesmith.errors import DataError, UsageError
from tunesmith.evaluation.item import Item
from tunesmith.tokens.encode import Encoder
from tunesmith.tokens.encoded import EncodedExample


@dataclass(frozen=True, slots=True)
class Question:
    """A prompt with its reference. Plain text and ready tokens have no prompt: they are read alone.

    `parts` are what the likelihood of the reference is measured on: one example, or the windows of a passage.
    """

    prompt: tuple[Message, ...]
    prompt_ids: tuple[int, ...]
    reference: str
    parts: tuple[EncodedExample, ...]

    @property
    def targets(self) -> int:
        """Tokens of the reference, the end token included."""
        return sum(int(np.count_nonzero(part.weights)) for part in self.parts)


def questions(encoder: Encoder, examples: Sequence[AnyExample], context: int) -> list[Question]:
    """One question for each example. `encoder` learns the last assistant turn.

    Raises:
        DataError: an example has no assistant turn, or is longer than the `context`.
    """
    return [_question(encoder, example, context) for example in examples]


def of_encoded(encoder: Encoder, examples: Sequence[EncodedExample]) -> list[Question]:
    """One question for each encoded example that has something before what is learned last: that is its reference.

    The prompt ids are those that are trained, so nothing has to be rendered again.
    """
    found = []
    for example in examples:
        learned = np.flatnonzero(example.weights > 0)
        if not len(learned):
            continue
        gaps = np.flatnonzero(np.diff(learned) > 1)
        start = int(learned[gaps[-1] + 1] if len(gaps) else learned[0])
        if start < 2:
            continue
        weights = np.where(np.arange(len(example)) >= start, example.weights > 0, 0).astype(np.float32)
        last = replace(example, weights=weights)
        ids = tuple(int(i) for i in example.ids[:start])
        prompt = (Message("user", encoder.tokenizer.decode(ids)),)
        found.append(Question(prompt, ids, _learned(encoder, last), (last,)))
    return found


def unanswered(questions: Sequence[Question], labels: Sequence[str] = ()) -> list[Item]:
    """What is known of the items of these questions before anything is answered: what a metric's needs look at.

    Raises:
        UsageError: one of them has no prompt and so cannot be answered.
    """
    if silent := sum(not question.prompt for question in questions):
        raise UsageError(
            f"{silent:,} of {len(questions):,} examples have nothing to answer: plain text, ready tokens or an answer "
            "alone. They can be read for loss, perplexity and bits_per_byte."
        )
    options = dict.fromkeys(labels, 0.0)
    return [
        Item(
            "",
            question.reference.strip() if labels else question.reference,
            nats=0.0,
            targets=question.targets,
            prompt=question.prompt[-1].content,
            options=options,
        )
        for question in questions
    ]


def answer_ids(encoder: Encoder, texts: Sequence[str]) -> list[list[int]]:
    """Each text as the ids of a whole answer, its end token included: those that would be learned of it."""
    asked = Message("user", "?")
    examples = [Example((asked, Message("assistant", text)), Origin("options", 0)) for text in texts]
    return [[int(i) for i in e.ids[e.weights > 0]] for e in encoder.encode_many(examples)]


def _question(encoder: Encoder, example: AnyExample, context: int) -> Question:
    if isinstance(example, Passage):
        return Question((), (), example.text, tuple(encoder.passages(example, context)))
    if isinstance(example, Tokenized):
        encoded = encoder.tokenized(example)
        return Question((), (), _learned(encoder, encoded), (encoded,))
    return _of(encoder, example, context)


def _of(encoder: Encoder, example: Example, context: int) -> Question:
    turns = [index for index, message in enumerate(example.messages) if message.role == "assistant"]
    if not turns:
        raise DataError(f"{example.origin}: there is no answer to compare with. Add an assistant turn.")
    prompt, answer = example.messages[: turns[-1]], example.messages[turns[-1]]
    # What counts in training (weights of turns, of the example) is no part of the question.
    whole = replace(example, messages=(*prompt, replace(answer, weight=1.0)), weight=1.0)
    encoded = encoder.encode(replace(whole, messages=tuple(_unweighted(whole.messages))))
    if len(encoded) > context:
        raise DataError(
            f"{example.origin}: prompt and reference have {len(encoded):,} tokens, the model's context is {context:,}."
        )
    ids = encoder.prompt(prompt, example.tools)
    return Question(prompt, tuple(ids), answer.content or _learned(encoder, encoded), (encoded,))


def _unweighted(messages: Sequence[Message]) -> list[Message]:
    return [*(replace(message, weight=None) for message in messages[:-1]), messages[-1]]


def _learned(encoder: Encoder, encoded: EncodedExample) -> str:
    """What is to be said where the content is empty (tool calls), as the template writes it, without the end token."""
    ids = [int(i) for i in encoded.ids[encoded.weights > 0] if int(i) not in encoder.stop_ids]
    return encoder.tokenizer.decode(ids)
