"""Messages written as text by the model's own chat template, every span remembering whose words it is.

The decision: the text is what transformers renders from the same template, to the character; the authors come from
watching the template run (`traced`, `sandbox`). Dates that a template asks for are frozen (`sandbox.FROZEN_DATE`), so
that the same conversation is the same text on any day.
"""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tunesmith.data.example import Message
from tunesmith.errors import TemplateError
from tunesmith.tokens.sandbox import CompiledTemplate, Turn
from tunesmith.tokens.traced import OUTSIDE, TEMPLATE, TOOLS, Source, Traced, Words, trace

_ROLE = re.compile(r"[A-Za-z][\w-]*")


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
        self._specials = {name: Traced.of(text, Source(TEMPLATE)) for name, text in specials.items()}
        self._compiled = CompiledTemplate(source)
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
        written = self._compiled.run(
            {
                **self._specials,
                "messages": [_turn(index, message, in_parts) for index, message in enumerate(messages)],
                "tools": trace(list(tools), Source(TOOLS)) if tools else None,
                "documents": None,
                "add_generation_prompt": generation_prompt,
            }
        )
        return Rendering("".join([written]), _spans(written))

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


def _spans(written: Traced) -> tuple[Span, ...]:
    spans: list[Span] = []
    at = 0
    for length, source in written._runs:
        spans.append(Span(at, at + length, *source))
        at += length
    return tuple(spans)


def _turn(index: int, message: Message, in_parts: bool) -> Turn:
    """The message with the fields that transformers gives a template."""
    own = Source(index)
    # Templates build control tokens from role names (`<|user|>`); a plain name can forge nothing.
    role_source = Source(TEMPLATE, index) if _ROLE.fullmatch(message.role) else own
    content = Traced.of(message.content, own._replace(words=Words("content")))
    fields: dict[str, Any] = {
        "role": Traced.of(message.role, role_source),
        "content": [{"type": "text", "text": content}] if in_parts else content,
    }
    if message.reasoning is not None:
        reasoning = Traced.of(message.reasoning, own._replace(words=Words("reasoning")))
        fields["reasoning_content"] = fields["thinking"] = reasoning
    if message.tool_calls:
        fields["tool_calls"] = [trace(_call_with_parsed_arguments(call), own) for call in message.tool_calls]
    for name in ("tool_call_id", "name"):
        if (value := getattr(message, name)) is not None:
            fields[name] = Traced.of(value, own)
    return Turn(index, fields)


def _call_with_parsed_arguments(call: Mapping[str, Any]) -> dict[str, Any]:
    """The call with `arguments` as an object, as servers hand it to templates; arguments that are no JSON stay text."""
    plain = dict(call)
    function = plain.get("function")
    if isinstance(function, Mapping) and isinstance(function.get("arguments"), str):
        try:
            plain["function"] = {**function, "arguments": json.loads(function["arguments"])}
        except ValueError:
            return plain
    return plain
