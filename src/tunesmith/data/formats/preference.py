"""Preference data: a chosen and a rejected answer, ranked answers, or answers marked good or bad.

The decision: for supervised training the preferred answer is an example like any other, and what is rejected is
mentioned, never learned. Read are TRL's and Anthropic's chosen/rejected (texts, turns, or whole dialogues), OpenAI's
preferred_output, LLaMA-Factory's chosen_messages, responses with ranks or scores, and answers with a yes/no label.
"""

import re
from collections.abc import Mapping
from typing import Any

from tunesmith.data.example import Message
from tunesmith.data.formats.conversation import conversation
from tunesmith.data.formats.format import Format, Notes, Outcome, text_field
from tunesmith.data.formats.sharegpt import read_turns
from tunesmith.data.formats.tools import read_tools
from tunesmith.data.records import Record

PAIRS = (
    ("chosen", "rejected"),
    ("preferred_output", "non_preferred_output"),
    ("chosen_messages", "rejected_messages"),
)
CONTEXTS = ("prompt", "messages", "conversations", "instruction", "question", "input")
MARKS = ("label", "kto_tag")
RANKS = ("ranks", "rank", "scores", "score", "rewards")
# Anthropic's dialogues: each turn opens with an empty line and the speaker's name.
_SPEAKER = re.compile(r"\n\n(Human|Assistant): ?")


def _pair(value: Mapping[str, Any]) -> tuple[str, str] | None:
    return next((pair for pair in PAIRS if pair[0] in value and pair[1] in value), None)


def _recognise_pair(value: Mapping[str, Any]) -> bool:
    return _pair(value) is not None


def _pair_examples(record: Record) -> Outcome:
    value, notes = record.value, Notes(record.origin)
    pair = _pair(value)
    if pair is None:
        notes.add("missing-field", "the record has no chosen and rejected answer.", "chosen")
        return notes.outcome()
    context = _context(value, notes)
    answer = _dialogue(value[pair[0]], "assistant", pair[0], notes)
    # Some write the whole conversation into each side and the prompt beside it.
    turns = answer if answer[: len(context)] == context else [*context, *answer]
    if not notes.stopped:
        notes.add("rejected-unused", f"only {pair[0]!r} is learned, {pair[1]!r} is not used.", pair[1])
    return conversation(turns, notes, tools=read_tools(_tools(value), "tools", notes), at=pair[0])


def _tools(value: Mapping[str, Any]) -> Any:
    inner = value.get("input")
    return value.get("tools") or (inner.get("tools") if isinstance(inner, Mapping) else None)


def _context(value: Mapping[str, Any], notes: Notes) -> list[Message]:
    """The turns before the answers, from whichever fields hold them."""
    turns = []
    if system := text_field(value, "system", notes, required=False):
        turns.append(Message("system", system))
    field = next((name for name in CONTEXTS if value.get(name)), None)
    if field is None:
        return turns
    raw = value[field]
    if isinstance(raw, Mapping):
        raw, field = raw.get("messages"), f"{field}.messages"
    before = _dialogue(raw, "user", field, notes)
    addition = value.get("input")
    if field == "instruction" and isinstance(addition, str) and addition.strip() and len(before) == 1:
        before = [Message("user", f"{before[0].content}\n\n{addition}")]
    return turns + before


def _dialogue(raw: Any, speaker: str, at: str, notes: Notes) -> list[Message]:
    """The turns that a text, one turn or a list of turns means; a plain text is what `speaker` says."""
    if isinstance(raw, Mapping):
        raw = [raw]
    if isinstance(raw, list):
        return read_turns(raw, at, notes)
    if not isinstance(raw, str):
        notes.add("wrong-type", f"{at} holds neither text nor turns.", at)
        return []
    parts = _SPEAKER.split(raw)
    if len(parts) == 1 or parts[0].strip():
        return [Message(speaker, raw)]
    roles = {"Human": "user", "Assistant": "assistant"}
    turns = [Message(roles[who], text) for who, text in zip(parts[1::2], parts[2::2], strict=True)]
    # A prompt that ends with "Assistant:" asks for the answer that follows in another field.
    asks = speaker == "user" and turns[-1].role == "assistant" and not turns[-1].content
    return turns[:-1] if asks else turns


PREFERENCE = Format(
    name="preference",
    about='a preferred answer beside another: {"prompt": …, "chosen": …, "rejected": …}; the preferred one is learned',
    required=("chosen", "rejected"),
    optional=("prompt", "messages", "conversations", "system", "tools"),
    recognise=_recognise_pair,
    examples=_pair_examples,
)


def _mark(value: Mapping[str, Any]) -> str | None:
    return next((name for name in MARKS if isinstance(value.get(name), bool)), None)


def _recognise_marked(value: Mapping[str, Any]) -> bool:
    has_answer = any(name in value for name in ("messages", "conversations", "completion", "output", "response"))
    return _mark(value) is not None and has_answer


def _marked_examples(record: Record) -> Outcome:
    value, notes = record.value, Notes(record.origin)
    mark = _mark(value)
    if mark is None:
        notes.add("missing-field", "the record has no label true or false.", "label")
    elif not value[mark]:
        notes.add("undesirable", f"{mark} is false: the answer is one not to give. It is not learned.", mark)
        return notes.outcome()
    turns = _context(value, notes)
    answer = next((name for name in ("completion", "output", "response") if value.get(name) is not None), None)
    if answer is not None:
        turns += _dialogue(value[answer], "assistant", answer, notes)
    return conversation(turns, notes, tools=read_tools(_tools(value), "tools", notes), at=answer or "messages")


MARKED = Format(
    name="marked",
    about='answers marked good or bad: {"messages": […], "label": true}; the good ones are learned',
    required=("label",),
    optional=("messages", "conversations", "prompt", "completion", "system", "tools"),
    recognise=_recognise_marked,
    examples=_marked_examples,
)


def _ranking(value: Mapping[str, Any]) -> str | None:
    return next((name for name in RANKS if isinstance(value.get(name), list)), None)


def _recognise_ranked(value: Mapping[str, Any]) -> bool:
    return isinstance(value.get("responses"), list) and _ranking(value) is not None


def _ranked_examples(record: Record) -> Outcome:
    value, notes = record.value, Notes(record.origin)
    field, answers = _ranking(value), value.get("responses")
    ranks = value[field] if field else None
    if not isinstance(answers, list) or not isinstance(ranks, list) or len(answers) != len(ranks) or not answers:
        notes.add("wrong-type", "responses and their ranks or scores must be lists of the same length.", "responses")
        return notes.outcome()
    if not all(isinstance(rank, int | float) for rank in ranks):
        notes.add("wrong-type", f"{field} holds something that is no number.", field)
        return notes.outcome()
    # Rank 0 or 1 is the best, but of scores the highest.
    best = (min if field in ("ranks", "rank") else max)(range(len(ranks)), key=lambda i: ranks[i])
    turns = [*_context(value, notes), *_dialogue(answers[best], "assistant", f"responses[{best}]", notes)]
    if not notes.stopped and len(answers) > 1:
        notes.add("rejected-unused", f"only the best of {len(answers)} responses is learned.", "responses")
    return conversation(turns, notes, at=f"responses[{best}]")


RANKED = Format(
    name="ranked",
    about='several answers with ranks or scores: {"prompt": …, "responses": […], "ranks": […]}; the best is learned',
    required=("prompt", "responses", "ranks"),
    optional=("scores", "system"),
    recognise=_recognise_ranked,
    examples=_ranked_examples,
)
