"""A rendered conversation cut into the pieces that become tokens on their own.

The decision: cuts stand at the borders of every answer (learned or not, so that a prompt is cut as the training was)
and inside any text that would become a control token without being the template's own. An assistant's words may hold
control tokens that a model generates inside an answer (`<think>`), never one that begins or ends a turn.
"""

import re
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from tunesmith.tokens.answers import Answer
from tunesmith.tokens.template import Rendering, Span
from tunesmith.tokens.tokenizer import After, Tokenizer, any_of
from tunesmith.tokens.traced import TEMPLATE


@dataclass(frozen=True, slots=True)
class Segment:
    """A piece of text that becomes tokens on its own, what stands before it, and the weight of its tokens.

    `parts` are the characters (start, end, weight) that count where they do not all count alike; the rest is context.
    """

    text: str
    after: After
    weight: float
    parts: tuple[tuple[int, int, float], ...] = ()


class Segmenter:
    """Cuts renderings of one template for one tokenizer.

    `literals` are what the template may write by itself; `probe` is a plain conversation that it has written.
    """

    def __init__(
        self, tokenizer: Tokenizer, literals: Iterable[str], probe: tuple[Rendering, tuple[Answer, ...]]
    ) -> None:
        self._tokenizer = tokenizer
        written = "\0".join(literals)
        # Added tokens that are no special ones (`<think>`, `<tool_call>`) are control tokens where the template writes
        # them; runs of spaces or plain words among them are vocabulary.
        in_template = {text for text in tokenizer.added if text in written and not (text.isspace() or text.isalnum())}
        self.control = frozenset(tokenizer.control) | in_template
        self._pattern = any_of(self.control)
        self._signs = tuple({text[0] for text in self.control})
        self._beginning = any_of(self._signs)
        self._longest = max(map(len, self.control), default=0)
        self.structure = frozenset(self._structure(*probe))

    def end_ids(self, probe: tuple[Rendering, tuple[Answer, ...]]) -> frozenset[int]:
        """The control token, if any, that the template ends an answer with."""
        rendering, answers = probe
        ends = (text for answer in answers for text in self.control if rendering.text[: answer.end].endswith(text))
        return frozenset(self._tokenizer.added[text] for text in ends)

    def segments(
        self, rendering: Rendering, answers: Sequence[Answer], learned: Sequence[tuple[int, int, float]]
    ) -> list[Segment]:
        """The pieces of the text, in order, without gap; `learned` are spans (start, end, weight)."""
        text = rendering.text
        borders = {border for answer in answers for piece in answer.pieces for border in piece}
        # One cut inside such a text is enough: what is left of it is no control token any more.
        borders.update(match.start() + 1 for match in self._forged(rendering, answers))
        cuts = sorted(borders - {0, len(text)})
        segments = []
        for start, end in zip([0, *cuts], [*cuts, len(text)], strict=True):
            parts = tuple(
                (max(a, start) - start, min(b, end) - start, w) for a, b, w in learned if a < end and start < b
            )
            alike = not parts or (len(parts) == 1 and parts[0][:2] == (0, end - start))
            weight = parts[0][2] if parts and alike else 0.0
            segments.append(Segment(text[start:end], self._after(text, start), weight, () if alike else parts))
        return [segment for segment in segments if segment.text]

    def segments_of_runs(
        self, runs: Sequence[str], weights: Sequence[float], words: Sequence[str]
    ) -> list[Segment] | None:
        """`segments` of a text that comes in runs already, with a weight for each and the messages' `words` in it.

        None where words hold, or might complete, the text of a control token: then more than the runs must be known.
        """
        for text in words:
            # Most words hold no sign that a control token begins with, which is faster to see than to search.
            if any(sign in text for sign in self._signs) and (
                self._pattern.search(text) is not None or self.ends_inside_control(text)
            ):
                return None
        segments = []
        before = ""
        for text, weight in zip(runs, weights, strict=True):
            if text:
                segments.append(Segment(text, self._after(before, len(before)), weight))
                before = before[-self._longest :] + text
        return segments

    def ends_inside_control(self, text: str) -> bool:
        """Whether a text ends with the beginning of a control token, which what follows might complete."""
        tail = text[max(0, len(text) - self._longest + 1) :]
        return any(
            token.startswith(tail[match.start() :])
            for match in self._beginning.finditer(tail)
            for token in self.control
            if len(token) > len(tail) - match.start()
        )

    def forged_texts(self, rendering: Rendering, answers: Sequence[Answer]) -> list[str]:
        """The texts that would become control tokens without being the template's own."""
        return [match.group() for match in self._forged(rendering, answers)]

    def ends_with_control(self, text: str) -> bool:
        """Whether a text ends with a control token."""
        return any(text.endswith(token) for token in self.control)

    def _forged(self, rendering: Rendering, answers: Sequence[Answer]) -> Iterator[re.Match[str]]:
        starts = [span.start for span in rendering.spans]
        assistants = {answer.message for answer in answers}
        at = 0
        while (match := self._pattern.search(rendering.text, at)) is not None:
            first, last = bisect_right(starts, match.start()) - 1, bisect_right(starts, match.end() - 1) - 1
            allowed = assistants if match.group() not in self.structure else set()
            if all(_may_write(span, allowed) for span in rendering.spans[first : last + 1]):
                at = match.end()
            else:
                yield match
                at = match.start() + 1

    def _after(self, text: str, start: int) -> After:
        if start == 0:
            return "start"
        return "control" if self._tokenizer.ends_with_added(text[:start]) else "text"

    def _structure(self, rendering: Rendering, answers: Sequence[Answer]) -> Iterable[str]:
        """Control tokens that begin or end turns: an assistant's own words never become one of them."""
        named = {*self._tokenizer.stop_ids, self._tokenizer.bos_id, self._tokenizer.eos_id}
        outside = [
            rendering.text[span.start : span.end]
            for span in rendering.spans
            if not any(answer.start <= span.start < answer.end for answer in answers)
        ]
        for text, id_ in self._tokenizer.added.items():
            ends = any(rendering.text[: answer.end].endswith(text) for answer in answers)
            if id_ in named or ends or (text in self._tokenizer.control and any(text in words for words in outside)):
                yield text


def _may_write(span: Span, assistants: set[int]) -> bool:
    return span.author == TEMPLATE or span.author in assistants
