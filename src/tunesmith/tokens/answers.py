"""Which characters of a rendered conversation the assistant generates, derived from the template alone.

The decision: an answer begins where the prompt that would be served ends, and runs to the end of the turn that the
template was writing, its end token included. Both are read off real renderings (the conversation up to the turn with
a generation prompt; the conversation that ends with the turn), so no list of model names is needed. Where those
renderings do not agree with the whole conversation, the template rewrites what came earlier, and the answer says so.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tunesmith.data.example import Message
from tunesmith.errors import TemplateError
from tunesmith.tokens.template import ChatTemplate, Rendering, Span


@dataclass(frozen=True, slots=True)
class Answer:
    """What the assistant generates in one turn: characters `start:end` of the text.

    `message` is the index of the turn; there are several `pieces` where a tool spoke in the middle of it. `doubt` is
    None where the answer is proved: the served prompt is a prefix of the text, and the turn reads as it did when it was
    the last one. Else it tells the first differing piece.
    """

    message: int
    pieces: tuple[tuple[int, int], ...]
    doubt: str | None

    @property
    def start(self) -> int:
        return self.pieces[0][0]

    @property
    def end(self) -> int:
        return self.pieces[-1][1]


def find_answers(
    template: ChatTemplate,
    rendering: Rendering,
    messages: Sequence[Message],
    tools: Sequence[Mapping[str, Any]] = (),
) -> tuple[Answer, ...]:
    """The answers of all assistant turns of `messages`, whose rendering `rendering` is, in order.

    A turn that leaves nothing in the text has no answer here.
    """
    found = (
        _answer(template, rendering, messages, tools, index)
        for index, message in enumerate(messages)
        if message.role == "assistant"
    )
    return tuple(answer for answer in found if answer is not None)


def _answer(
    template: ChatTemplate,
    rendering: Rendering,
    messages: Sequence[Message],
    tools: Sequence[Mapping[str, Any]],
    index: int,
) -> Answer | None:
    prompt = template.render(messages[:index], tools, generation_prompt=True).text
    pieces = _generated(rendering, index, prompt)
    if not pieces:
        return None
    doubt = _difference("the prompt when serving", prompt, rendering.text[: len(prompt)])
    if doubt is None and index + 1 < len(messages):
        alone = template.render(messages[: index + 1], tools)
        written = "".join(alone.text[a:b] for a, b in _generated(alone, index, prompt))
        kept = "".join(rendering.text[a:b] for a, b in pieces)
        doubt = _difference("the answer when it is generated", written, kept)
    return Answer(index, pieces, doubt)


def _generated(rendering: Rendering, index: int, prompt: str) -> tuple[tuple[int, int], ...]:
    """The characters of turn `index` behind the prompt, without the whitespace that the template puts after them."""
    own = [span for span in rendering.spans if span.owner == index]
    if any(span.marked for span in own):
        own = [span for span in own if span.marked]
    own_words = [span.start for span in own if span.author == index]
    # The prompt holds no word of this turn: where both begin alike by chance, the answer keeps its first characters.
    start = min([common_prefix(prompt, rendering.text), *own_words[:1]])
    pieces: list[tuple[int, int]] = []
    for span in own:
        begin = max(span.start, start)
        if begin >= span.end:
            continue
        if pieces and pieces[-1][1] == begin:
            pieces[-1] = (pieces[-1][0], span.end)
        else:
            pieces.append((begin, span.end))
    return _without_trailing_space(pieces, rendering, own)


def _without_trailing_space(
    pieces: list[tuple[int, int]], rendering: Rendering, own: list[Span]
) -> tuple[tuple[int, int], ...]:
    if not pieces:
        return ()
    begin, end = pieces[-1]
    floor = max([begin, *(span.end for span in own if span.author >= 0)])
    while end > floor and rendering.text[end - 1].isspace():
        end -= 1
    kept = [*pieces[:-1], (begin, end)] if end > begin else pieces[:-1]
    return tuple(kept)


def common_prefix(one: str, other: str) -> int:
    """How many characters two texts share from the beginning."""
    low, high = 0, min(len(one), len(other))
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if one[low:middle] == other[low:middle] else (low, middle - 1)
    return low


def _difference(what: str, expected: str, got: str) -> str | None:
    """Where two texts part, as a clause that shows both; None where they are equal."""
    if expected == got:
        return None
    at = common_prefix(expected, got)
    return f"{what} reads {expected[at : at + 40]!r} where the conversation reads {got[at : at + 40]!r}"


def require_certain(answer: Answer) -> None:
    """Refuses an answer that is not proved.

    Raises:
        TemplateError: the answer has a doubt.
    """
    if answer.doubt is not None:
        raise TemplateError(
            f"The chat template rewrites message {answer.message + 1}: {answer.doubt}. Training on it would teach "
            "what is never generated. Set supervision.train_on: last_assistant, or end the conversation there."
        )
