"""One example made visible: what is context, what is learned, where each token begins.

The decision: what is shown is the encoded example itself (its ids and weights), so what a person sees is what will be
trained. Learned text stands out by colour and, where there is none, by marks; the end token is always visible.
"""

import html
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from rich.text import Text

from tunesmith.data.example import AnyExample, Passage, Tokenized
from tunesmith.tokens.encode import Encoder
from tunesmith.tokens.encoded import EncodedExample

CONTEXT_STYLE = "bright_black"
LEARNED_STYLE = "bold green"
PARTLY_STYLE = "yellow"
MOST_TOKENS_OF_A_CHARACTER = 16


@dataclass(frozen=True, slots=True)
class Shown:
    """An example as text with its learned character spans, and the tokens that it becomes.

    `learned` are (start, end, weight) in `text`; `token_ends` the character where each token's text ends (a token that
    holds a part of a character ends where that character does).
    """

    origin: str
    text: str
    learned: tuple[tuple[int, int, float], ...]
    ids: tuple[int, ...]
    weights: tuple[float, ...]
    token_ends: tuple[int, ...]

    def as_json(self) -> dict[str, Any]:
        """The JSON object of `data show --json`: text, learned, ids, weights."""
        return {
            "text": self.text,
            "learned": [list(span) for span in self.learned],
            "ids": list(self.ids),
            "weights": list(self.weights),
        }


def show(encoder: Encoder, example: AnyExample, *, window: int) -> list[Shown]:
    """What an example becomes: one for a conversation or ready tokens, one for each window of a passage.

    Raises:
        TemplateError: the template refuses the conversation, or the tokenizer does not know a token.
    """
    if isinstance(example, Passage):
        return [shown(encoder, encoded) for encoded in encoder.passages(example, window)]
    if isinstance(example, Tokenized):
        return [shown(encoder, encoder.tokenized(example))]
    return [shown(encoder, encoder.encode(example))]


def shown(encoder: Encoder, encoded: EncodedExample) -> Shown:
    """An encoded example made visible."""
    ids, weights = encoded.ids.tolist(), encoded.weights.tolist()
    text, ends = token_ends(encoder, ids)
    learned: list[tuple[int, int, float]] = []
    for start, end, weight in zip([0, *ends], ends, weights, strict=False):
        if weight <= 0 or start == end:
            continue
        if learned and learned[-1][1:] == (start, weight):
            learned[-1] = (learned[-1][0], end, weight)
        else:
            learned.append((start, end, weight))
    return Shown(str(encoded.origin), text, tuple(learned), tuple(ids), tuple(weights), tuple(ends))


def token_ends(encoder: Encoder, ids: Sequence[int]) -> tuple[str, list[int]]:
    """The text of `ids`, and the character at which the text of each id ends.

    Characters that several tokens make together belong to the last of them.
    """
    text = encoder.tokenizer.decode(ids)
    ends: list[int] = []
    at = pending = 0
    for i in range(len(ids)):
        # A few tokens before it give a token the surroundings that its text may depend on (spaces, broken characters).
        context = max(0, pending - 1)
        before = encoder.tokenizer.decode(ids[context:pending])
        piece = encoder.tokenizer.decode(ids[context : i + 1])[len(before) :]
        if text.startswith(piece, at) or i - pending >= MOST_TOKENS_OF_A_CHARACTER:
            at, pending = at + len(piece), i + 1
        ends.append(at)
    if ends:
        ends[-1] = len(text)
    return text, ends


def to_terminal(shown: Shown) -> Text:
    """The example in colour for rich: context grey, learned green (yellow for a weight other than 1)."""
    drawn = Text()
    drawn.append(f"{shown.origin}  {len(shown.ids)} tokens, {_targets(shown)} learned\n", style="bold")
    for start, end, weight in _all_spans(shown):
        words = visible(shown.text[start:end])
        if weight:
            drawn.append(f"⟦{words}⟧", style=LEARNED_STYLE if weight == 1 else PARTLY_STYLE)
            if weight != 1:
                drawn.append(f"×{weight:g}", style=PARTLY_STYLE)
        else:
            drawn.append(words, style=CONTEXT_STYLE)
    return drawn.append("\n")


def to_html(examples: Sequence[Shown], *, title: str) -> str:
    """A page that needs no other file: context grey, learned coloured by weight, token ids on hover."""
    body = "\n".join(article(one) for one in examples)
    return _PAGE.format(title=html.escape(title), body=body, style=STYLE)


def visible(text: str) -> str:
    """The text with control characters and line ends made visible."""
    drawn = text.replace("\n", "⏎\n").replace("\t", "⇥").replace("\r", "␍")
    return "".join(c if c == "\n" or ord(c) >= 32 else chr(0x2400 + ord(c)) for c in drawn)


def _targets(shown: Shown) -> int:
    return sum(weight > 0 for weight in shown.weights)


def _all_spans(shown: Shown) -> Iterator[tuple[int, int, float]]:
    """The whole text as spans in order, context with weight 0."""
    at = 0
    for start, end, weight in shown.learned:
        if at < start:
            yield at, start, 0.0
        yield start, end, weight
        at = end
    if at < len(shown.text):
        yield at, len(shown.text), 0.0


def article(shown: Shown) -> str:
    """An example as a piece of a page that has `STYLE`."""
    tokens = []
    start = 0
    for end, id_, weight in zip(shown.token_ends, shown.ids, shown.weights, strict=True):
        words = html.escape(visible(shown.text[start:end]))
        shade = f' class="l" style="--w:{min(weight, 2) / 2:.2f}"' if weight > 0 else ""
        tokens.append(f'<span{shade} title="{id_} · weight {weight:g}">{words}</span>')
        start = end
    head = f"{html.escape(shown.origin)} · {len(shown.ids)} tokens, {_targets(shown)} learned"
    return f"<article><h2>{head}</h2><pre>{''.join(tokens)}</pre></article>"


STYLE = """pre { white-space: pre-wrap; overflow-wrap: anywhere; padding: 1rem; border-radius: .5rem;
  color: light-dark(#666, #999); background: light-dark(#f6f6f6, #1b1b1b); }
span.l { color: light-dark(#063, #9f9); font-weight: 600;
  background: color-mix(in srgb, #2a8 calc(15% + 50% * var(--w)), transparent); }
pre span:hover { outline: 1px solid currentColor; }
"""
_PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>{title}</title>
<style>
:root {{ color-scheme: light dark; }}
body {{ font: 15px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem; }}
h1 {{ font-size: 1.4rem; overflow-wrap: anywhere; }} h2 {{ font-size: 1rem; margin-bottom: .25rem; }}
{style}.key span {{ padding: 0 .3rem; }}
</style></head><body>
<h1>{title}</h1>
<p class="key"><span style="color:#767676">context</span> <span class="l" style="--w:.5">learned</span>
 a stronger colour is a greater weight; point at a token to see its id</p>
{body}
</body></html>
"""
