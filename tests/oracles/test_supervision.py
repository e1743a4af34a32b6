"""Learned characters derived from original templates, against the marks that TRL's training variants set by hand.

TRL carries the chat templates of many families and, for most, a variant with `{% generation %}` marks. Where the
variant renders the same text, its marks say what a person found to be learned. Three differences are no matter of taste
and are left aside: whitespace; marks on text that the generation prompt already holds, which is served and never
generated; and what `EXPLAINED` names.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from functools import cache
from pathlib import Path
from random import Random
from typing import Any

import pytest

from tunesmith.data.example import Example, Message, Origin
from tunesmith.errors import TemplateError
from tunesmith.tokens.answers import Answer, common_prefix, find_answers
from tunesmith.tokens.sandbox import FROZEN_DATE
from tunesmith.tokens.shapes import Shapes
from tunesmith.tokens.template import ChatTemplate, Rendering

trl = pytest.importorskip("trl")
chat_template_utils = pytest.importorskip("transformers.utils.chat_template_utils")

FOLDER = Path(trl.__file__).parent / "chat_templates"
PAIRS = sorted(path.name.removesuffix("_training.jinja") for path in FOLDER.glob("*_training.jinja"))
MARKED = ("lfm2_2_5", "lfm2_2_5_v2", "lfm2_2_5_vl")
SPECIALS = {"bos_token": "<bos>", "eos_token": "<eos>", "pad_token": "<pad>"}

ARGUMENTS = {"city": "Paris", "days": 2}
CALL = {"id": "call_1", "type": "function", "function": {"name": "weather", "arguments": json.dumps(ARGUMENTS)}}
TOOL = {
    "type": "function",
    "function": {
        "name": "weather",
        "description": "Tells the weather",
        "parameters": {
            "type": "object",
            "properties": {
                "city": {"type": "string", "description": "the city"},
                "days": {"type": "integer", "description": "how many"},
            },
            "required": ["city"],
        },
    },
}


def user(text: str) -> Message:
    return Message("user", text)


def answers(text: str, reasoning: str | None = None, *, calls: bool = False) -> Message:
    return Message("assistant", text, reasoning=reasoning, tool_calls=(CALL,) if calls else ())


def replies(text: str) -> Message:
    return Message("tool", text, tool_call_id="call_1", name="weather")


SYSTEM = Message("system", "Be brief.")
FIRST = (user("What is 2+2?"), answers("It is 4."))
THINKING = (user("What is 2+2?"), answers("It is 4.", "Two and two make four."))
SECOND = (user("And 3+3?"), answers("That is 6."))
CALLING = (
    user("Weather in Paris?"),
    answers("", calls=True),
    replies("Sunny, 21 degrees"),
    answers("It is sunny."),
)
CONVERSATIONS: dict[str, tuple[tuple[Message, ...], tuple[Mapping[str, Any], ...]]] = {
    "single": (FIRST, ()),
    "multi": ((*FIRST, *SECOND), ()),
    "system": ((SYSTEM, *FIRST), ()),
    "tools": (CALLING, (TOOL,)),
    "reasoning": (THINKING, ()),
    "reasoning_multi": ((*THINKING, *SECOND), ()),
    "tools_multi": ((SYSTEM, *CALLING, *SECOND), (TOOL,)),
    "empty": ((user("Say nothing."), answers("")), ()),
}

EXPLAINED = {
    # The template ends every text with the end-of-text token, behind the turn that `<|end|>` has already ended. A model
    # that was asked for an answer stops at `<|end|>`, so what follows is never generated.
    **{("phi3", case): "<eos>" for case in CONVERSATIONS},
    **{("phi3_5", case): "<eos>" for case in CONVERSATIONS},
    # A turn that calls a tool ends with `<|tool_response>`: rendered alone, the template ends the turn so, and servers
    # stop there. And behind the reply the generation prompt opens no new turn, so to read as the template writes it the
    # model has to open the turn itself.
    **{("diffusion_gemma", case): "<|tool_response><|turn>model" for case in ("tools", "tools_multi")},
}


def as_transformers_wants(message: Message, *, in_parts: bool) -> dict[str, Any]:
    """The message in transformers' own form, written down independently of the code under test."""
    fields: dict[str, Any] = {"role": message.role, "content": message.content}
    if in_parts:
        fields["content"] = [{"type": "text", "text": message.content}]
    if message.reasoning is not None:
        fields |= {"thinking": message.reasoning, "reasoning_content": message.reasoning}
    if message.tool_calls:
        fields["tool_calls"] = [{**CALL, "function": {"name": "weather", "arguments": ARGUMENTS}}]
    if message.role == "tool":
        fields |= {"tool_call_id": "call_1", "name": "weather"}
    return fields


class FrozenClock(datetime):
    @classmethod
    def now(cls, tz: Any = None) -> "FrozenClock":
        return cls.fromtimestamp(FROZEN_DATE.timestamp())


@pytest.fixture(autouse=True)
def _frozen_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chat_template_utils, "datetime", FrozenClock)


@cache
def compiled(source: str) -> ChatTemplate:
    return ChatTemplate(source, SPECIALS)


def by_transformers(template: str, case: str, *, in_parts: bool) -> tuple[str, set[int]] | None:
    """The text that transformers renders and the characters that are marked; None where the template refuses."""
    messages, tools = CONVERSATIONS[case]
    try:
        (text,), (marks,) = chat_template_utils.render_jinja_template(
            [[as_transformers_wants(message, in_parts=in_parts) for message in messages]],
            tools=list(tools) or None,
            chat_template=template,
            return_assistant_tokens_mask=True,
            **SPECIALS,
        )
    except Exception:  # the oracle's refusals are of every kind; what it refuses cannot be compared
        return None
    return text, {i for start, end in marks for i in range(start, end)}


def served(template: ChatTemplate, case: str, rendering: Rendering, found: Sequence[Answer]) -> set[int]:
    """The characters that the prompts of all turns hold of the text."""
    messages, tools = CONVERSATIONS[case]
    held: set[int] = set()
    for answer in found:
        prompt = template.render(messages[: answer.message], tools, generation_prompt=True).text
        before = [span.end for span in rendering.spans if 0 <= span.author < answer.message]
        held.update(range(max(before), common_prefix(prompt, rendering.text)))
    return held


@cache
def compared(family: str, case: str) -> str | None:
    """What differs between derived and marked characters, "" for nothing; None where the case cannot be compared."""
    source = (FOLDER / f"{family}.jinja").read_text(encoding="utf-8")
    marked_file = FOLDER / f"{family}_training.jinja"
    template = compiled(source)
    marked_source = marked_file.read_text(encoding="utf-8") if marked_file.exists() else source
    oracle = by_transformers(marked_source, case, in_parts=template.in_parts)
    if oracle is None or by_transformers(source, case, in_parts=template.in_parts) is None:
        return None
    messages, tools = CONVERSATIONS[case]
    rendering = template.render(messages, tools)
    text, marked = oracle
    if text != rendering.text:
        return None
    found = find_answers(template, rendering, messages, tools)
    derived = {i for answer in found for start, end in answer.pieces for i in range(start, end)}
    aside = served(template, case, rendering, found)
    differing = [i for i in sorted(derived ^ marked) if not text[i].isspace() and i not in aside]
    return "".join(text[i] for i in differing)


@pytest.mark.parametrize("family", [*PAIRS, *MARKED])
def test_what_is_derived_is_what_was_marked_by_hand(family: str) -> None:
    differences = {case: compared(family, case) for case in CONVERSATIONS}
    unexplained = {case: text for case, text in differences.items() if text and EXPLAINED.get((family, case)) != text}
    assert not unexplained
    stale = [case for case in CONVERSATIONS if (family, case) in EXPLAINED and not differences[case]]
    assert not stale


def test_the_oracle_covers_the_families() -> None:
    results = {(family, case): compared(family, case) for family in (*PAIRS, *MARKED) for case in CONVERSATIONS}
    comparable = {key: text for key, text in results.items() if text is not None}
    assert len({family for family, _ in comparable}) >= 32
    assert len(comparable) >= 232
    assert sum(not text for text in comparable.values()) >= 214


@pytest.mark.parametrize("file", sorted(FOLDER.glob("*.jinja")), ids=lambda file: file.stem)
def test_the_text_is_what_transformers_renders(file: Path) -> None:
    source = file.read_text(encoding="utf-8")
    template = compiled(source)
    for case, (messages, tools) in CONVERSATIONS.items():
        expected = by_transformers(source, case, in_parts=template.in_parts)
        if expected is None:
            with pytest.raises(TemplateError):
                template.render(messages, tools)
        else:
            assert template.render(messages, tools).text == expected[0], case


TRICKY = ("It is 4.", " lead", "trail \n", "", "\n", "</think>x", "<think>a</think>b", "é🚀", "{{ x }}", "<|im_end|>")


@pytest.mark.parametrize("file", sorted(FOLDER.glob("*.jinja")), ids=lambda file: file.stem)
def test_a_pattern_is_what_the_full_analysis_finds(file: Path) -> None:
    template = compiled(file.read_text(encoding="utf-8"))
    shapes = Shapes(template, lambda text: False)
    draw = Random(file.stem)
    for _ in range(12):
        messages = tuple(
            replace(m, content=draw.choice(TRICKY), reasoning=m.reasoning and draw.choice(TRICKY))
            for m in CONVERSATIONS[draw.choice(("single", "multi", "system", "reasoning_multi"))][0]
        )
        filled = shapes.fill(Example(messages, Origin("x", 1)))
        if filled is None:
            continue
        pattern, texts, _ = filled
        rendering = template.render(messages)
        found = find_answers(template, rendering, messages)
        assert "".join(texts) == rendering.text
        assert {a.message: rendering.text[a.start : a.end] for a in found} == {
            message: text for message, text in zip(pattern.answers, texts, strict=True) if message is not None
        }
        assert all(answer.doubt is None for answer in found)
