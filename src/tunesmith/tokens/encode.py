"""Conversations and passages as token ids, with a weight for every target.

The decision: the text is cut where an answer begins and where it ends, and the pieces become tokens on their own. So a
prompt that is served is a prefix of what was trained, whatever the tokenizer would have merged across the border. Words
of a message can never become a control token of the template, because they are cut inside such a text.
"""

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from tunesmith.data.example import Example, Message, Origin, Passage, Tokenized
from tunesmith.errors import TemplateError
from tunesmith.tokens.answers import Answer, find_answers, require_certain
from tunesmith.tokens.builtin import template_text
from tunesmith.tokens.encoded import EncodedExample
from tunesmith.tokens.parts import spans_of, token_weights
from tunesmith.tokens.sandbox import FROZEN_DATE
from tunesmith.tokens.segments import Segment, Segmenter
from tunesmith.tokens.shapes import Pattern, Shapes
from tunesmith.tokens.template import ChatTemplate, Rendering
from tunesmith.tokens.tokenizer import Tokenizer

TrainOn = Literal["assistant", "last_assistant", "all"]

_ENCODING = "1"
"""Raised whenever the same input may give other ids or weights; part of every fingerprint."""


@dataclass(frozen=True, slots=True)
class Shaped:
    """A conversation cut into segments by the known pattern of its shape, without a look at the template."""

    pattern: Pattern
    segments: list[Segment]
    origin: Origin

    @property
    def text(self) -> str:
        """The conversation as the template writes it."""
        return "".join(segment.text for segment in self.segments)


@dataclass(frozen=True, slots=True)
class Learned:
    """A conversation as text, and what is learned of it: character spans with their weight, in order."""

    rendering: Rendering
    answers: tuple[Answer, ...]
    spans: tuple[tuple[int, int, float], ...]


class Encoder:
    """Examples → EncodedExamples, with one tokenizer and one chat template.

    `chat_template` is a built-in name, a file or Jinja text; the tokenizer's own when None. `max_length` changes no
    encoding (an answer is never cut); it is what `checks` compares with.

    Where the tokenizer puts a BOS in front of plain text and the template writes none, the template is given one in
    front: `template.source` is the text to save beside the model.

    Raises:
        TemplateError: there is no template, it is not valid, or it cannot render a plain question and answer.
    """

    def __init__(
        self,
        tokenizer: Tokenizer,
        *,
        train_on: TrainOn = "assistant",
        chat_template: str | None = None,
        max_length: int | None = None,
    ) -> None:
        self.tokenizer = tokenizer
        self.train_on = train_on
        self.max_length = max_length
        self.template = _with_bos(_source(tokenizer, chat_template), tokenizer)
        probe = _probe(self.template)
        self._segmenter = Segmenter(tokenizer, self.template.literals, probe)
        self._shapes = Shapes(self.template, self._segmenter.ends_inside_control)
        self.stop_ids = tokenizer.stop_ids | self._segmenter.end_ids(probe)
        parts = (_ENCODING, tokenizer.fingerprint, self.template.source, train_on, FROZEN_DATE.isoformat())
        self.fingerprint = hashlib.sha256("\0".join(parts).encode("utf-8", "surrogatepass")).hexdigest()

    @classmethod
    def of(cls, plain: Mapping[str, Any]) -> "Encoder":
        """The encoder that `plain` described."""
        return cls(Tokenizer(**plain["tokenizer"]), **plain["options"])

    def plain(self) -> dict[str, Any]:
        """This encoder as plain values, for another process."""
        options = {"train_on": self.train_on, "chat_template": self.template.source, "max_length": self.max_length}
        return {"tokenizer": self.tokenizer.plain(), "options": options}

    def encode(self, example: Example) -> EncodedExample:
        """The token ids of a conversation and the weight of every target.

        Raises:
            TemplateError: the template refuses the conversation, or what is learned of it is not certain.
        """
        return self.encode_many([example])[0]

    def encode_many(self, examples: Sequence[Example]) -> list[EncodedExample]:
        """`encode` of each, in order, several times faster than one by one.

        Raises:
            TemplateError: as `encode`, for the first example that cannot be encoded.
        """
        segmented = [
            self._segments(self.learned(example)) if (shaped := self.shaped(example)) is None else shaped.segments
            for example in examples
        ]
        return self._tokenized(segmented, [example.origin for example in examples])

    def shaped(self, example: Example) -> Shaped | None:
        """A conversation by the known pattern of its shape; None where it has to be analysed in full."""
        if (filled := self._shapes.fill(example)) is None:
            return None
        pattern, texts, words = filled
        weights = self._weights(example, [message for message in pattern.answers if message is not None])
        other = example.weight if self.train_on == "all" else 0.0
        by_run = [other if message is None else weights[message] for message in pattern.answers]
        segments = self._segmenter.segments_of_runs(texts, by_run, words)
        return None if segments is None else Shaped(pattern, segments, example.origin)

    def encode_shaped(self, shaped: Sequence[Shaped]) -> list[EncodedExample]:
        """`encode` of each conversation."""
        return self._tokenized([one.segments for one in shaped], [one.origin for one in shaped])

    def learned(self, example: Example) -> Learned:
        """The text of a conversation and the character spans that are learned, before any token is made.

        Raises:
            TemplateError: as `encode`.
        """
        with _located(example):
            rendering, answers = self._read(example)
            weights = self._weights(example, [answer.message for answer in answers])
            for answer in answers:
                if weights[answer.message] > 0 or example.messages[answer.message].parts:
                    require_certain(answer)
        return self._learned(example, rendering, answers, weights)

    def encode_split(self, example: Example) -> list[EncodedExample]:
        """A conversation as one example for each turn that the template rewrites later, and one for all the others.

        Where the template keeps every learned turn this is `encode`. Else each rewritten turn is learned at the end of
        a conversation of its own, as it is generated, and is context alone in the whole: nothing is learned twice.

        Raises:
            TemplateError: the template refuses the conversation, or a turn is not certain even as the last one.
        """
        with _located(example):
            rendering, answers = self._read(example)
            weights = self._weights(example, [answer.message for answer in answers])
            rewritten = [a.message for a in answers if a.doubt is not None and weights[a.message] > 0]
            kept_weights = {message: weight for message, weight in weights.items() if message not in rewritten}
            whole = self._learned(example, rendering, answers, kept_weights)
            parts = [self._ending_with(example, message, weights[message]) for message in rewritten]
        kept = [part for part in (whole, *parts) if part.spans] or [whole]
        return self._tokenized([self._segments(part) for part in kept], [example.origin] * len(kept))

    def prompt(self, messages: Sequence[Message], tools: Sequence[Mapping[str, Any]] = ()) -> list[int]:
        """The ids to be served for the next answer: a prefix of the trained ids of any conversation that goes on so.

        Raises:
            TemplateError: the template refuses the conversation.
        """
        rendering = self.template.render(messages, tools, generation_prompt=True)
        answers = find_answers(self.template, rendering, messages, tools)
        segments = self._segments(Learned(rendering, answers, ()))
        pieces = self.tokenizer.encode_batch([(s.text, s.after) for s in segments])
        return [int(id_) for ids in pieces for id_ in ids]

    def passages(self, passage: Passage, window: int) -> list[EncodedExample]:
        """A text in windows of at most `window` tokens, every token of it learned exactly once.

        The text stands between a start and an end token: BOS where the tokenizer puts one in front of plain text, else
        the end token (as if another text had come before); a tokenizer without either leaves the first token of the
        text unlearned. A later window begins with the last token of the one before, as context. No text, no window.
        """
        ids = self.tokenizer.encode(passage.text)
        if not ids:
            return []
        eos = self.tokenizer.eos_id
        start = self.tokenizer.bos_id if self.tokenizer.adds_bos else eos
        ids = [id_ for id_ in (start, *ids, eos) if id_ is not None]
        step = window - 1
        starts = range(0, max(len(ids) - 1, 1), step)
        return [_window(ids[at : at + window], passage) for at in starts]

    def tokenized(self, row: Tokenized) -> EncodedExample:
        """Ready tokens as they are; only the first, which nothing before it predicts, is never a target.

        Raises:
            TemplateError: the tokenizer does not know one of them.
        """
        highest = int(row.ids.max())
        if highest >= self.tokenizer.vocabulary_size:
            raise TemplateError(
                f"{row.origin}: it holds the token id {highest:,}, but the tokenizer of this model has "
                f"{self.tokenizer.vocabulary_size:,}. Make the tokens with the tokenizer of the model that is trained."
            )
        weights = row.weights.copy()
        weights[:1] = 0.0
        return EncodedExample(row.ids.astype(np.int32), weights, row.origin)

    def _read(self, example: Example) -> tuple[Rendering, tuple[Answer, ...]]:
        rendering = self.template.render(example.messages, example.tools)
        return rendering, find_answers(self.template, rendering, example.messages, example.tools)

    def _learned(
        self, example: Example, rendering: Rendering, answers: tuple[Answer, ...], weights: Mapping[int, float]
    ) -> Learned:
        """What is learned where the answers have these weights; one without is context, parts and all."""
        spans = [span for answer in answers for span in spans_of(example, rendering, answer, weights)]
        if self.train_on == "all":
            spans = _filled(spans, len(rendering.text), example.weight)
        return Learned(rendering, answers, tuple(span for span in spans if span[2] > 0))

    def _ending_with(self, example: Example, message: int, weight: float) -> Learned:
        """The conversation up to a turn, of which that turn alone is learned."""
        rendering, answers = self._read(replace(example, messages=example.messages[: message + 1]))
        last = answers[-1]
        require_certain(last)
        spans = spans_of(example, rendering, last, {message: weight})
        return Learned(rendering, answers, tuple(span for span in spans if span[2] > 0))

    def _tokenized(self, segmented: Sequence[Sequence[Segment]], origins: Sequence[Origin]) -> list[EncodedExample]:
        flat = iter(self.tokenizer.encode_batch([(s.text, s.after) for segments in segmented for s in segments]))
        return [
            _assembled(origin, segments, [next(flat) for _ in segments], self.tokenizer)
            for origin, segments in zip(origins, segmented, strict=True)
        ]

    def forged(self, learned: Learned) -> list[str]:
        """The texts of control tokens in messages' words, as they stand in the conversation; they stay plain text."""
        return self._segmenter.forged_texts(learned.rendering, learned.answers)

    def ends_answer(self, text: str) -> bool:
        """Whether an answer's text ends with a control token."""
        return self._segmenter.ends_with_control(text)

    def _weights(self, example: Example, answered: Sequence[int]) -> dict[int, float]:
        """The weight of each answer's targets, by message: its own, else by `train_on`; times the example's."""
        weights = {}
        for message in answered:
            own = example.messages[message].weight
            by_rule = 0.0 if self.train_on == "last_assistant" and message != answered[-1] else 1.0
            weights[message] = (by_rule if own is None else own) * example.weight
        return weights

    def _segments(self, learned: Learned) -> list[Segment]:
        return self._segmenter.segments(learned.rendering, learned.answers, learned.spans)


def _source(tokenizer: Tokenizer, chat_template: str | None) -> str:
    if chat_template is not None:
        return template_text(chat_template)
    if tokenizer.chat_template is None:
        raise TemplateError(
            "The model has no chat template. Choose one: supervision.chat_template: chatml (or gemma, plain, a file)."
        )
    return tokenizer.chat_template


def _with_bos(source: str, tokenizer: Tokenizer) -> ChatTemplate:
    template = ChatTemplate(source, tokenizer.special_tokens)
    bos = tokenizer.special_tokens.get("bos_token")
    if not tokenizer.adds_bos or bos is None or _probe(template)[0].text.startswith(bos):
        return template
    return ChatTemplate("{{- bos_token -}}" + source, tokenizer.special_tokens)


def _probe(template: ChatTemplate) -> tuple[Rendering, tuple[Answer, ...]]:
    """A plain conversation, rendered, and its answers."""
    messages = [Message("user", "ping"), Message("assistant", "pong")]
    rendering = template.render(messages)
    return rendering, find_answers(template, rendering, messages)


@contextmanager
def _located(example: Example) -> Iterator[None]:
    try:
        yield
    except TemplateError as error:
        raise TemplateError(f"{example.origin}: {error}") from error


def _filled(spans: Iterable[tuple[int, int, float]], end: int, weight: float) -> list[tuple[int, int, float]]:
    """The spans and, with `weight`, everything between them."""
    filled: list[tuple[int, int, float]] = []
    at = 0
    for span in spans:
        filled += [(at, span[0], weight), span]
        at = span[1]
    return [span for span in [*filled, (at, end, weight)] if span[0] < span[1]]


def _assembled(
    origin: Origin, segments: Sequence[Segment], ids: Sequence[NDArray[np.int32]], tokenizer: Tokenizer
) -> EncodedExample:
    weights = np.repeat(
        np.array([segment.weight for segment in segments], dtype=np.float32), [len(piece) for piece in ids]
    )
    at = 0
    for segment, piece in zip(segments, ids, strict=True):
        if segment.parts:
            weights[at : at + len(piece)] = token_weights(tokenizer, segment)
        at += len(piece)
    weights[:1] = 0.0  # nothing stands before the first token that could predict it
    return EncodedExample(np.concatenate(ids) if ids else np.empty(0, np.int32), weights, origin)


def _window(ids: list[int], passage: Passage) -> EncodedExample:
    weights = np.ones(len(ids), dtype=np.float32)
    weights[:1] = 0.0
    return EncodedExample(np.array(ids, dtype=np.int32), weights, passage.origin)
