"""Which characters of a rendered conversation the assistant generates, derived from the template alone.

The decision: an answer is what stands behind the prompt that would be served, in the conversation that ends with the
answer, up to the end of the turn that the template was writing, its end token included. Both are real renderings, so no
list of model names is needed. The proof is that the whole conversation reads the same: where it does not, the template
rewrites what came earlier, and the answer carries that doubt.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

from tunesmith.data.example import Message
from tunesmith.errors import TemplateError
from tunesmith.tokens.template import Rendering

Tools = Sequence[Mapping[str, Any]]
Pieces = tuple[tuple[int, int], ...]


class Renders(Protocol):
    """What writes conversations: a ChatTemplate."""

    def render(
        self, messages: Sequence[Message], tools: Tools = (), *, generation_prompt: bool = False
    ) -> Rendering: ...


class Doubt(NamedTuple):
    """Why an answer is not proved, as a clause, and what can be done."""

    difference: str
    remedy: str


REWRITTEN = (
    "Give the message weight 0, learn the last answer alone (supervision.train_on: last_assistant), or split the "
    "conversation at every such turn (supervision.rewritten_turns: split)."
)
LEFT_OUT = "Choose a template that writes it (supervision.chat_template), or give the message weight 0."


@dataclass(frozen=True, slots=True)
class Answer:
    """What the assistant generates in one turn: characters `start:end` of the text.

    `message` is the index of the turn. `doubt` is None where the answer is proved: the served prompt is a prefix of the
    text, the turn reads as it did when it was the last one, and no word of it is missing. Else it tells the first
    differing piece, and `pieces` are what of the turn stands in the text.
    """

    message: int
    pieces: Pieces
    doubt: Doubt | None

    @property
    def start(self) -> int:
        return self.pieces[0][0]

    @property
    def end(self) -> int:
        return self.pieces[-1][1]


def find_answers(
    template: Renders, rendering: Rendering, messages: Sequence[Message], tools: Tools = ()
) -> tuple[Answer, ...]:
    """The answers of all assistant turns of `messages`, whose rendering `rendering` is, in order.

    A turn that leaves nothing in the text has no answer here.
    """
    answers = []
    for index, message in enumerate(messages):
        if message.role == "assistant":
            try:
                prompt = template.render(messages[:index], tools, generation_prompt=True).text
                alone = rendering if index + 1 == len(messages) else template.render(messages[: index + 1], tools)
            except TemplateError as error:
                pieces = _generated(rendering, "", index, last=False)
                answers.append(Answer(index, pieces, Doubt(f"it cannot write what stands before ({error})", REWRITTEN)))
            else:
                answers.append(_answer(rendering, alone, prompt, index, message))
    return tuple(answer for answer in answers if answer.pieces)


def _answer(rendering: Rendering, alone: Rendering, prompt: str, index: int, message: Message) -> Answer:
    generated = _generated(alone, prompt, index, last=True)
    doubt = _difference("the prompt that is served", prompt, rendering.text)
    if doubt is None and generated:
        begin, end = len(prompt), generated[-1][1]
        answer = alone.text[begin:end]
        doubt = _lost_words(message, answer) or _difference("the answer as generated", answer, rendering.text[begin:])
        if doubt is None:
            return Answer(index, ((begin, end),), None)
    pieces = _generated(rendering, prompt, index, last=alone is rendering)
    return Answer(index, pieces, doubt or Doubt("it writes nothing of it where it is the last", REWRITTEN))


def _lost_words(message: Message, answer: str) -> Doubt | None:
    """What of the message's content and calls is missing in the answer; templates may set whitespace and tags anew."""
    content = message.content.strip()
    if content not in answer:
        letters = iter("".join(answer.split()))
        if not all(letter in letters for letter in "".join(content.split())):
            return Doubt(f"it leaves out words of {content[:40]!r}", LEFT_OUT)
    for call in message.tool_calls:
        name = call.get("function", call).get("name", "")
        if name not in answer:
            return Doubt(f"it leaves out the call of the tool {name!r}", LEFT_OUT)
    return None


def _generated(rendering: Rendering, prompt: str, index: int, *, last: bool) -> Pieces:
    """The characters of turn `index` behind the prompt, without the whitespace that the template puts after them."""
    own = [span for span in rendering.spans if span.owner == index]
    if any(span.marked for span in own):
        own = [span for span in own if span.marked]
    own_words = [span for span in own if span.author == index]
    start = _start(rendering, prompt, own_words[0].start if own_words else None)
    pieces = _joined((max(span.start, start), span.end) for span in own)
    if not pieces:
        return ()
    floor = max([start, *(span.end for span in own_words)])
    end = _without_space(rendering.text, floor, pieces[-1][1])
    if last and end == floor and not own[-1].marked:
        # Nothing in the turn ends it, so what the template writes behind its loop does (an end token after all turns).
        end = _without_space(rendering.text, floor, len(rendering.text))
    return _joined([*pieces[:-1], (pieces[-1][0], end)])


def _start(rendering: Rendering, prompt: str, first_word: int | None) -> int:
    """Where the prompt ends in the text; where they part, the beginning of the piece in which they do."""
    shared = common_prefix(prompt, rendering.text)
    if first_word is not None and first_word <= shared:
        # The prompt holds no word of this turn: where both begin alike by chance, the answer keeps its beginning.
        return first_word
    if shared == len(prompt):
        return shared
    return max((span.start for span in rendering.spans if span.start <= shared), default=0)


def _joined(pieces: Iterable[tuple[int, int]]) -> Pieces:
    joined: list[tuple[int, int]] = []
    for begin, end in pieces:
        if begin >= end:
            continue
        if joined and joined[-1][1] == begin:
            joined[-1] = (joined[-1][0], end)
        else:
            joined.append((begin, end))
    return tuple(joined)


def _without_space(text: str, floor: int, end: int) -> int:
    return floor + len(text[floor:end].rstrip())


def common_prefix(one: str, other: str) -> int:
    """How many characters two texts share from the beginning."""
    low, high = 0, min(len(one), len(other))
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if one[low:middle] == other[low:middle] else (low, middle - 1)
    return low


def _difference(what: str, expected: str, text: str) -> Doubt | None:
    """How `text` fails to begin with `expected`, as a clause that shows both; None where it begins so."""
    if text.startswith(expected):
        return None
    at = common_prefix(expected, text)
    here, there = expected[at : at + 40], text[at : at + 40]
    return Doubt(f"{what} goes on {here!r} where the conversation goes on {there!r}", REWRITTEN)


def require_certain(answer: Answer) -> None:
    """Refuses an answer that is not proved.

    Raises:
        TemplateError: the answer has a doubt.
    """
    if answer.doubt is not None:
        raise TemplateError(
            f"The chat template does not keep message {answer.message + 1} as it is generated: "
            f"{answer.doubt.difference}. Learning it so would teach what is never said. {answer.doubt.remedy}"
        )
