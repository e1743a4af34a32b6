"""Messages written as text by the model's own chat template, every span remembering whose words it is.

The decision: the text is what transformers renders from the same template, to the character; the authors come from
watching the template run (`traced`, `sandbox`) in a process of its own (`confined`). Dates that a template asks for are
frozen (`sandbox.FROZEN_DATE`), so that the same conversation is the same text on any day.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tunesmith.data.example import Message
from tunesmith.errors import TemplateError
from tunesmith.tokens.confined import ConfinedTemplate, Written
from tunesmith.tokens.traced import OUTSIDE, Words


@dataclass(frozen=True, slots=True)
class Span:
    """A piece of rendered text, characters `start:end`, and its author (see `traced.Source`).

    `author` is the index of the message whose words these are, or TEMPLATE, TOOLS, UNKNOWN; `turn` the index of the
    message that the template was writing, OUTSIDE where it was at none; `marked`: inside a `{% generation %}` block;
    `words` what of the message it is, where it is all of that.
    """

    start: int
    end: int
    author: int
    turn: int
    marked: bool
    words: Words | None

    @property
    def owner(self) -> int:
        """The message whose turn this span is part of; OUTSIDE for none.

        The template's words belong to the turn around them. A message's words belong to it unless the template wrote
        them at the turn of another: the name of a called tool in front of its reply, a reply inside the call's turn.
        """
        if self.author < 0 or self.turn == OUTSIDE:
            return max(self.author, self.turn)
        return self.author if self.turn == self.author else OUTSIDE


@dataclass(frozen=True, slots=True)
class Rendering:
    """A conversation as text, and the spans that cover it without gap."""

    text: str
    spans: tuple[Span, ...]


class ChatTemplate:
    """One chat template, ready to render.

    `specials` are the names that templates may use for control tokens: bos_token, eos_token and their like.
    """

    def __init__(self, source: str, specials: Mapping[str, str]) -> None:
        self.source = source
        self._specials = dict(specials)
        self._compiled = ConfinedTemplate(source)
        self.literals = self._compiled.literals
        self.filters = self._compiled.filters
        self.in_parts = self._wants_parts()

    def render(
        self, messages: Sequence[Message], tools: Sequence[Mapping[str, Any]] = (), *, generation_prompt: bool = False
    ) -> Rendering:
        """The conversation as text with its spans; with `generation_prompt`, up to where the assistant's words begin.

        Raises:
            TemplateError: the template refuses the conversation, fails, or goes beyond a limit.
        """
        return self._render(messages, tools, generation_prompt, self.in_parts)

    def _render(
        self, messages: Sequence[Message], tools: Sequence[Mapping[str, Any]], generation_prompt: bool, in_parts: bool
    ) -> Rendering:
        written = self._compiled.render(
            messages, tools, specials=self._specials, generation_prompt=generation_prompt, in_parts=in_parts
        )
        return Rendering(written.text, _spans(written))

    def _wants_parts(self) -> bool:
        """Whether content must be given as a list of parts, as templates of models that also see images want it."""
        probe = [Message("user", "ping"), Message("assistant", "pong")]
        return not self._shows(probe, in_parts=False) and self._shows(probe, in_parts=True)

    def _shows(self, probe: Sequence[Message], *, in_parts: bool) -> bool:
        """Whether the words of every message come out."""
        try:
            rendering = self._render(probe, (), False, in_parts)
        except TemplateError:
            return False
        return set(range(len(probe))) <= {span.author for span in rendering.spans}


def _spans(written: Written) -> tuple[Span, ...]:
    spans: list[Span] = []
    at = 0
    for length, source in written.runs:
        spans.append(Span(at, at + length, *source))
        at += length
    return tuple(spans)
