"""Parts of an answer that count otherwise than the rest of it: characters of the content → text → tokens.

The decision: an answer is made into tokens as a whole, so that its ids are those the model would generate, whatever
parts of it are learned. A token in which parts with different weights meet counts by its characters: their mean.
"""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from tunesmith.data.example import Example
from tunesmith.errors import TemplateError
from tunesmith.tokens.answers import Answer
from tunesmith.tokens.segments import Segment
from tunesmith.tokens.template import Rendering
from tunesmith.tokens.tokenizer import Tokenizer
from tunesmith.tokens.traced import Words

Spans = list[tuple[int, int, float]]


def spans_of(example: Example, rendering: Rendering, answer: Answer, weights: Mapping[int, float]) -> Spans:
    """The characters of an answer with their weights, in order; `weights` are those of whole answers, by message.

    Raises:
        TemplateError: the answer has parts, and the template does not write its content as it stands.
    """
    weight, parts = weights.get(answer.message, 0.0), example.messages[answer.message].parts
    pieces = [(start, end, weight) for start, end in answer.pieces]
    if not parts or answer.message not in weights:
        return pieces
    first, last, skipped = _content(example, rendering, answer)
    for start, end, own in parts:
        inside = max(first, first + start - skipped), min(last, first + end - skipped)
        if inside[0] < inside[1]:
            pieces = [piece for whole in pieces for piece in _cut(whole, *inside, own * example.weight)]
    return pieces


def token_weights(tokenizer: Tokenizer, segment: Segment) -> NDArray[np.float32]:
    """The weight of each token of a segment whose characters do not all count alike."""
    by_character = np.zeros(len(segment.text))
    for start, end, weight in segment.parts:
        by_character[start:end] = weight
    before, weights = 0, []
    for end in tokenizer.ends(segment.text, segment.after)[1]:
        # A token may stand for a part of a character, whose end an earlier one has reached.
        weights.append(by_character[min(before, end - 1) : end].mean() if end else 0.0)
        before = max(before, end)
    return np.array(weights, dtype=np.float32)


def _content(example: Example, rendering: Rendering, answer: Answer) -> tuple[int, int, int]:
    """Where an answer's content stands in the text, and how many characters the template took from its beginning."""
    found = [
        span
        for span in rendering.spans
        if span.author == answer.message and span.words is not None and span.words.name == "content"
        and answer.start <= span.start < answer.end
    ]  # fmt: skip
    if len(found) != 1 or found[0].words is None:
        raise TemplateError(
            f"Parts of message {answer.message + 1} have their own weight, but the chat template does not write its "
            "content as it stands. Give the whole turn one weight."
        )
    return found[0].start, found[0].end, _skipped(found[0].words, example.messages[answer.message].content)


def _skipped(words: Words, content: str) -> int:
    skipped = 0
    for method, chars in words.trims:
        if method != "rstrip":
            skipped += len(content) - len(content.lstrip(chars))
        content = getattr(content, method)(chars)
    return skipped


def _cut(whole: tuple[int, int, float], start: int, end: int, weight: float) -> Spans:
    """A span in which the characters `start:end` have another weight."""
    a, b, own = whole
    pieces = [(a, min(b, start), own), (max(a, start), min(b, end), weight), (max(a, end), b, own)]
    return [piece for piece in pieces if piece[0] < piece[1]]
