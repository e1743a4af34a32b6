"""One analysis of a template for all conversations of the same shape.

The decision: rendering a conversation several times and proving its answers costs more than making its tokens, and
most conversations of a data set differ in their words alone. So the first of a shape is analysed in full, with
everything noted that the template saw of the words (is it empty, does it contain `</think>`). The result is a pattern:
literals, and places for words. It is used for another conversation only where the template would see the same again;
then it is what the template would write, and the proof of the answers holds because it holds for the pattern itself.
Anything else (tool calls, a look that cannot be repeated, text that might forge a control token) is analysed in full.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from tunesmith.data.example import Example, Message
from tunesmith.errors import TemplateError
from tunesmith.tokens.answers import Answer, Tools, find_answers
from tunesmith.tokens.template import ChatTemplate, Rendering
from tunesmith.tokens.traced import QUESTIONS, TEMPLATE, Look, Words, watching

MOST_PATTERNS = 16
"""Patterns of one shape; a template that sees more differences than that is analysed each time."""
MOST_SHAPES = 1024
KNOWN_FILTERS = {
    *("trim", "tojson", "string", "length", "count", "items", "list", "first", "last", "default", "d", "join"),
    *("select", "reject", "selectattr", "rejectattr", "upper", "lower", "capitalize", "title", "replace", "safe"),
}
"""Filters that see words only through what is noted."""

Place = tuple[int, Words]
"""The words of a message, by its index."""
Part = str | Place


@dataclass(frozen=True, slots=True)
class Pattern:
    """What the template writes for a shape: runs of parts between the borders of answers.

    `answers` names for each run the message whose answer it is, or None. `looks` must be answered alike for the
    pattern to hold.
    """

    runs: tuple[tuple[Part, ...], ...]
    answers: tuple[int | None, ...]
    looks: tuple[Look, ...]

    def filled(self, messages: Sequence[Message]) -> tuple[list[str], list[str]] | None:
        """The text of every run, and all words in it; None where the pattern does not hold for these messages."""
        for author, words, question, argument, answer in self.looks:
            if QUESTIONS[question](words.of(_field(messages[author], words)), argument) is not answer:
                return None
        spoken: list[str] = []
        texts = []
        for run in self.runs:
            parts = []
            for part in run:
                if isinstance(part, str):
                    parts.append(part)
                else:
                    parts.append(part[1].of(_field(messages[part[0]], part[1])))
                    spoken.append(parts[-1])
            texts.append("".join(parts))
        return texts, spoken


class Shapes:
    """The patterns of one template, found as conversations come by."""

    def __init__(self, template: ChatTemplate, ends_inside_control: Callable[[str], bool]) -> None:
        self._template = template
        self._ends_inside_control = ends_inside_control
        self._known: dict[Any, list[Pattern | None]] = {}
        self._usable = template.filters <= KNOWN_FILTERS

    def fill(self, example: Example) -> tuple[Pattern, list[str], list[str]] | None:
        """The pattern of a conversation, the text of its runs and the words in them.

        None where there is no pattern that is proved to hold; the conversation must then be analysed in full.
        """
        if not self._usable or example.tools or any(_is_special(message) for message in example.messages):
            return None
        shape = tuple(
            (m.role, m.content == "", None if m.reasoning is None else m.reasoning == "") for m in example.messages
        )
        patterns = self._known.setdefault(shape, []) if len(self._known) < MOST_SHAPES else self._known.get(shape, [])
        for pattern in patterns:
            if pattern is not None and (filled := pattern.filled(example.messages)) is not None:
                return pattern, *filled
        if len(patterns) >= MOST_PATTERNS:
            return None
        pattern = find_pattern(self._template, example.messages)
        if pattern is not None and any(
            self._ends_inside_control(p) for r in pattern.runs for p in r if isinstance(p, str)
        ):
            pattern = None  # words behind such a literal might complete a control token
        patterns.append(pattern)
        filled = pattern.filled(example.messages) if pattern is not None else None
        return None if pattern is None or filled is None else (pattern, *filled)


def find_pattern(template: ChatTemplate, messages: Sequence[Message]) -> Pattern | None:
    """The pattern of a conversation's shape; None where its proof does not carry over to other words."""
    watched = _Remembering(template)
    with watching() as notebook:
        try:
            rendering = watched.render(messages)
            answers = find_answers(watched, rendering, messages)
        except TemplateError:
            return None
    if notebook.saw_more or any(answer.doubt is not None for answer in answers):
        return None
    if not all(_is_proved(rendering, answer, messages, watched.seen) for answer in answers):
        return None
    runs = _runs(rendering, [border for answer in answers for border in (answer.start, answer.end)])
    if runs is None:
        return None
    owner = {answer.start: answer.message for answer in answers}
    return Pattern(
        tuple(run for _, run in runs),
        tuple(owner.get(start) for start, _ in runs),
        tuple(dict.fromkeys(notebook.looks)),
    )


class _Remembering:
    """A template whose renderings are kept, by the number of messages and whether a generation prompt was asked for."""

    def __init__(self, template: ChatTemplate) -> None:
        self._template = template
        self.seen: dict[tuple[int, bool], Rendering] = {}

    def render(self, messages: Sequence[Message], tools: Tools = (), *, generation_prompt: bool = False) -> Rendering:
        key = (len(messages), generation_prompt)
        if key not in self.seen:
            self.seen[key] = self._template.render(messages, tools, generation_prompt=generation_prompt)
        return self.seen[key]


def _is_proved(
    rendering: Rendering, answer: Answer, messages: Sequence[Message], seen: Mapping[tuple[int, bool], Rendering]
) -> bool:
    """Whether prompt and answer agree with the conversation part by part, so with any words in the places."""
    prompt, alone = seen[answer.message, True], seen[answer.message + 1, False]
    whole = _parts(rendering, 0, answer.end)
    content = messages[answer.message].content
    return (
        whole is not None
        and whole == _parts(alone, 0, answer.end)
        and _parts(prompt, 0, answer.start) == _parts(rendering, 0, answer.start)
        and (not content.strip() or _holds_content(_parts(rendering, answer.start, answer.end), answer.message))
    )


def _holds_content(parts: Sequence[Part] | None, message: int) -> bool:
    """Whether the message's content stands there whole, white space around it left aside."""
    return any(
        not isinstance(part, str)
        and part[0] == message
        and part[1].name == "content"
        and all(chars is None or chars.isspace() for _, chars in part[1].trims)
        for part in parts or ()
    )


def _runs(rendering: Rendering, borders: Sequence[int]) -> list[tuple[int, tuple[Part, ...]]] | None:
    """The text cut at the borders, each run with its start; None where it is not made of literals and places."""
    cuts = sorted({0, *borders, len(rendering.text)})
    runs = []
    for start, end in pairwise(cuts):
        parts = _parts(rendering, start, end)
        if parts is None:
            return None
        runs.append((start, parts))
    return runs


def _parts(rendering: Rendering, start: int, end: int) -> tuple[Part, ...] | None:
    """The characters `start:end` as literals, joined, and places; None where some are neither."""
    parts: list[Part] = []
    for span in rendering.spans:
        if span.end <= start or span.start >= end:
            continue
        if span.author == TEMPLATE:
            text = rendering.text[max(start, span.start) : min(end, span.end)]
            if parts and isinstance(parts[-1], str):
                parts[-1] += text
            else:
                parts.append(text)
        elif span.words is not None and span.author >= 0 and start <= span.start and span.end <= end:
            parts.append((span.author, span.words))
        else:
            return None
    return tuple(parts)


def _is_special(message: Message) -> bool:
    return bool(message.tool_calls or message.parts) or message.tool_call_id is not None or message.name is not None


def _field(message: Message, words: Words) -> str:
    return message.content if words.name == "content" else message.reasoning or ""
