"""Rewriting: the base model says the training answers in its own words, and trains on those that are still right.

The decision: an answer that the model could have given moves it less than one that it could not. Each training answer
is shown to the base with its question, once, greedily, and what it writes takes the answer's place where it still is
right by the metric that such references are judged by; else the answer stays. Only training answers are rewritten: what
is validated and tested is what the user wrote. The result is kept, so a run that is resumed trains on the same.

Yang et al., 2024, "Self-Distillation Bridges Distribution Gap in Language Model Fine-Tuning",
https://arxiv.org/abs/2402.13669.
"""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import orjson
import torch

from tunesmith.data.example import AnyExample, Example, Message
from tunesmith.evaluation import parsing
from tunesmith.evaluation.item import Item
from tunesmith.evaluation.metrics import guessed
from tunesmith.generation.decode import generate
from tunesmith.generation.settings import GenerationSettings
from tunesmith.models.cache import home, made_once
from tunesmith.models.load import load_model
from tunesmith.models.sources import Source
from tunesmith.run.opened import Say
from tunesmith.tokens.encode import Encoder

ASKED = "{question}\n\nThis is a right answer:\n{answer}\n\nGive the same answer in your own words, and nothing else."
_VERSION = 1
_ENOUGH = 0.5
"""Of the words of a free text that a rewritten one has in common with it (token F1)."""
_ANSWERS = "answers.json"


def rewriter(source: Source, encoder: Encoder, say: Say) -> Callable[[Sequence[AnyExample]], Sequence[AnyExample]]:
    """What gives examples with the last answer in the words of the base model, where that is still right."""

    def rewrite(examples: Sequence[AnyExample]) -> Sequence[AnyExample]:
        places = [place for place, example in enumerate(examples) if _can_be(example)]
        asked = [example for example in (examples[place] for place in places) if isinstance(example, Example)]
        if not asked:
            return examples
        answers = _kept(source, encoder, asked, say)
        references = [example.messages[-1].content for example in asked]
        kept = still_right(answers, references)
        say(f"rewrite: {sum(kept):,} of {len(examples):,} training answers are in the base model's own words")
        found = list(examples)
        for place, example, answer, right in zip(places, asked, answers, kept, strict=True):
            if right:
                found[place] = replace(
                    example, messages=(*example.messages[:-1], replace(example.messages[-1], content=answer))
                )
        return found

    return rewrite


def still_right(answers: Sequence[str], references: Sequence[str]) -> list[bool]:
    """Whether each rewritten answer says what its reference says, by the metric that such references are judged by."""
    (metric, *_), _ = guessed(references)
    if metric.name == "exact_match":  # a short text is still right inside a sentence
        return [bool(a.strip()) and parsing.label(a, [r]) == r for a, r in zip(answers, references, strict=True)]
    items = [Item(answer, reference) for answer, reference in zip(answers, references, strict=True)]
    scores = metric.value(metric.columns(items))
    return [bool(item.answer.strip()) and score >= _ENOUGH for item, score in zip(items, scores, strict=True)]


def _can_be(example: AnyExample) -> bool:
    """Whether the last turn is a plain answer to a plain question."""
    if not isinstance(example, Example) or len(example.messages) < 2:
        return False
    question, answer = example.messages[-2:]
    plain = question.role == "user" and answer.role == "assistant" and bool(answer.content.strip())
    return plain and not (answer.tool_calls or answer.reasoning or answer.parts)


def _kept(source: Source, encoder: Encoder, examples: Sequence[Example], say: Say) -> list[str]:
    """What the base writes for each example, made once."""
    prompts = [encoder.prompt(_question(example), example.tools) for example in examples]
    most = max(len(encoder.tokenizer.encode(example.messages[-1].content)) for example in examples)
    settings = GenerationSettings(max_new_tokens=max(32, 2 * most))
    parts = orjson.dumps([_VERSION, source.fingerprint, encoder.fingerprint, settings.max_new_tokens, prompts])
    place = home() / "rewritten" / hashlib.sha256(parts).hexdigest()[:32]

    def make(folder: Path) -> None:
        say(f"rewrite: the base model writes {len(prompts):,} answers, once")
        model = load_model(source.folder, dtype=torch.float32)
        found = generate(model, prompts, settings=settings, stop_ids=encoder.stop_ids)
        texts = [encoder.tokenizer.decode(one.ids).strip() if one.finished == "stop" else "" for one in found]
        (folder / _ANSWERS).write_bytes(orjson.dumps(texts))

    answers: list[str] = orjson.loads((made_once(place, make) / _ANSWERS).read_bytes())
    return answers


def _question(example: Example) -> list[Message]:
    *before, question, answer = example.messages
    asked = ASKED.format(question=question.content, answer=answer.content)
    return [*before, replace(question, content=asked)]
