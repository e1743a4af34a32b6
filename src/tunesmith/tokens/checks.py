"""Findings that need the tokenizer: what a conversation becomes as tokens, and what is wrong with that.

The decision: these look at the very ids and weights that would be trained, not at a guess of them.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from tunesmith.data.checks import Finding
from tunesmith.data.example import Example, Origin, Tokenized
from tunesmith.data.kinds import Kind
from tunesmith.errors import TemplateError
from tunesmith.tokens.encode import Encoder, Learned, Shaped
from tunesmith.tokens.encoded import EncodedExample

KINDS: dict[str, Kind] = {
    "template-refuses": Kind(
        "stop",
        "The chat template cannot write the conversation, or not in a way that can be learned with certainty.",
        "Change what the message names, or choose another template with supervision.chat_template.",
        "data.on_bad_record",
    ),
    "no-target-token": Kind("stop", "No token is learned.", "Add an answer or a weight.", "data.on_no_target"),
    "unknown-token-id": Kind(
        "stop",
        "A ready token is none of this tokenizer's.",
        "Make the tokens with the tokenizer of the model that is trained.",
        "data.on_bad_record",
    ),
    "too-long": Kind(
        "stop",
        "The example has more tokens than the context; an answer is never cut.",
        "Shorten it, or leave it out.",
        "data.on_too_long",
    ),
    "double-bos": Kind(
        "warn", "The example begins with two BOS tokens.", "Take the BOS out of the template or of the ids."
    ),
    "no-end-token": Kind(
        "warn",
        "A learned answer has no end token, so the model would not learn to stop.",
        "Choose a template that ends answers with a control token.",
    ),
    "forged-control-token": Kind(
        "warn",
        "A message holds the text of a control token, as an attempt to forge a turn would.",
        "Nothing has to be done: it is encoded as plain text. Remove it where it is not meant.",
    ),
    "reasoning-left-out": Kind(
        "warn",
        "The chat template leaves out the reasoning of a learned answer.",
        "Choose a template that writes reasoning, or take it as read that answers come without.",
    ),
}
"""The findings of this room: level, meaning, remedy, and the setting that drops such records."""


def found(name: str, message: str, origin: Origin, path: str | None = None) -> Finding:
    """A Finding of this room's at a record, with the level that `KINDS` gives it."""
    return Finding(name, KINDS[name].level, message, origin.file, origin.line, path)


@dataclass(frozen=True, slots=True)
class Checked:
    """One conversation as it would be trained (None where the template refuses it) and what was found in it.

    `border_differs` tells that one-shot tokenisation of the same text gives other ids, because a token would have
    crossed a border between prompt and answer (or a cut inside a forged control token).
    """

    encoded: EncodedExample | None
    findings: tuple[Finding, ...]
    border_differs: bool


def check(encoder: Encoder, examples: Iterable[Example], *, context: int) -> Iterator[Checked]:
    """What each conversation becomes, and the findings in it, in order.

    `context` is the most tokens that an example may have (the model's context, or the encoder's `max_length`).
    """
    for example in examples:
        try:
            learned = encoder.learned(example)
            encoded = encoder.encode(example)
        except TemplateError as error:
            yield Checked(
                None, (found("template-refuses", _without_place(error, example.origin), example.origin),), False
            )
            continue
        findings = tuple(_findings(encoder, example, learned, encoded, context))
        yield Checked(encoded, findings, crosses(encoder, learned.rendering.text, encoded))


def crosses(encoder: Encoder, text: str, encoded: EncodedExample) -> bool:
    """Whether a conversation's text becomes other ids in one piece."""
    one_shot, _ = encoder.tokenizer.offsets(text)
    return bool(one_shot != encoded.ids.tolist())


class Checker:
    """`check` for many conversations, several times faster.

    A conversation is looked at in full until one of its shape has been found clean; from then on what the shape
    proves (how answers end, what the template leaves out) is not looked at again, its ids always are.
    `borders` counts how many of the `compared` ones become other ids in one piece (`Checked.border_differs`).
    """

    def __init__(self, encoder: Encoder, *, context: int) -> None:
        self._encoder, self._context = encoder, context
        self._clean: set[Any] = set()
        self.compared = self.borders = 0

    def look(
        self, examples: Sequence[Example], *, compare: int = 0
    ) -> list[tuple[EncodedExample | None, tuple[Finding, ...]]]:
        """What each conversation becomes (None where the template refuses it) and the findings in it, in order.

        The first `compare` of them are compared with their ids in one piece.
        """
        known: dict[int, Shaped] = {}
        checked: dict[int, Checked] = {}
        for i, example in enumerate(examples):
            shaped = self._encoder.shaped(example)
            # What decides the findings beside the ids; the words of a conversation without pattern do.
            shape = shaped and (id(shaped.pattern), tuple(m.weight == 0 for m in example.messages))
            if shaped is not None and shape in self._clean:
                known[i] = shaped
                continue
            (checked[i],) = check(self._encoder, [example], context=self._context)
            if shape is not None and checked[i].encoded is not None and not checked[i].findings:
                self._clean.add(shape)
        for i, encoded in zip(known, self._encoder.encode_shaped(list(known.values())), strict=True):
            found = tuple(check_ids(self._encoder, encoded, context=self._context))
            differs = i < compare and crosses(self._encoder, known[i].text, encoded)
            checked[i] = Checked(encoded, found, differs)
        for i in range(min(compare, len(examples))):
            if checked[i].encoded is not None:
                self.compared += 1
                self.borders += checked[i].border_differs
        return [(checked[i].encoded, checked[i].findings) for i in range(len(examples))]


def check_ids(encoder: Encoder, encoded: EncodedExample, *, context: int) -> Iterator[Finding]:
    """The findings that ids and weights alone tell, for conversations, passages and rows that came as tokens."""
    tokenizer, origin = encoder.tokenizer, encoded.origin
    if not encoded.target_weight > 0:
        yield found("no-target-token", "no token of it is learned, so it teaches nothing", origin)
    if len(encoded) > context:
        more = len(encoded) - context
        yield found("too-long", f"it has {len(encoded):,} tokens, {more:,} more than {context:,} fit", origin)
    if tokenizer.bos_id is not None and encoded.ids[:2].tolist() == [tokenizer.bos_id] * 2:
        yield found("double-bos", "it begins with two BOS tokens", origin)


def check_tokenized(encoder: Encoder, row: Tokenized, *, context: int) -> Checked:
    """What ready tokens become (None where the tokenizer does not know one), and what is found in them."""
    try:
        encoded = encoder.tokenized(row)
    except TemplateError as error:
        return Checked(None, (found("unknown-token-id", _without_place(error, row.origin), row.origin),), False)
    return Checked(encoded, (*check_ids(encoder, encoded, context=context), *_unended(encoder, encoded)), False)


def _unended(encoder: Encoder, encoded: EncodedExample) -> Iterator[Finding]:
    """Learned tokens with context behind them, or at the end, that no end token closes."""
    taught = encoded.weights > 0
    last = np.flatnonzero(taught & ~np.append(taught[1:], False))
    open_ = [int(place) for place in last if int(encoded.ids[place]) not in encoder.stop_ids]
    if open_:
        tail = encoder.tokenizer.decode(encoded.ids[max(0, open_[0] - 4) : open_[0] + 1].tolist())
        yield found("no-end-token", f"a learned answer ends {tail!r}, with no end token", encoded.origin)


def _findings(
    encoder: Encoder, example: Example, learned: Learned, encoded: EncodedExample, context: int
) -> Iterator[Finding]:
    yield from check_ids(encoder, encoded, context=context)
    forged = encoder.forged(learned)
    if forged:
        named = ", ".join(dict.fromkeys(forged))
        message = f"it holds the text of control tokens ({named}); they are encoded as plain text"
        yield found("forged-control-token", message, example.origin)
    for answer in learned.answers if encoder.train_on != "all" else ():
        taught = [end for start, end, _ in learned.spans if answer.start <= start < answer.end]
        text = learned.rendering.text[answer.start : max(taught, default=0)]
        if taught and (taught[-1] < answer.end or not encoder.ends_answer(text)):
            yield found("no-end-token", f"a learned answer ends {text[-20:]!r}, with no end token", example.origin)
            break
    yield from _dropped_reasoning(example, learned)


def _dropped_reasoning(example: Example, learned: Learned) -> Iterator[Finding]:
    """Reasoning that the template leaves out of an answer that is learned."""
    starts = [start for start, _, _ in learned.spans]
    for answer in learned.answers:
        reasoning = (example.messages[answer.message].reasoning or "").strip()
        text = "".join(learned.rendering.text[start:end] for start, end in answer.pieces)
        if reasoning not in text and any(answer.start <= start < answer.end for start in starts):
            path = f"messages[{answer.message}].reasoning"
            yield found("reasoning-left-out", "the chat template leaves this reasoning out", example.origin, path)


def _without_place(error: TemplateError, origin: Origin) -> str:
    return str(error).removeprefix(f"{origin}: ")
