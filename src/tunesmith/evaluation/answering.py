"""A model's answers to questions, and how likely it finds the references: the items that metrics score.

The decision: answers and likelihoods are measured in two passes over all questions, and only the passes that the chosen
metrics need are made. Neither number depends on which questions stand beside each other.
"""

import math
from collections.abc import Sequence

import numpy as np

from tunesmith.evaluation.item import Item
from tunesmith.evaluation.question import Question, answer_ids
from tunesmith.generation.decode import Completion, generate
from tunesmith.generation.scoring import Choice, log_probabilities
from tunesmith.generation.settings import GenerationSettings
from tunesmith.models.forward import Network
from tunesmith.tokens.encode import Encoder
from tunesmith.training.step import Pass, measure

MEASURED_AT_ONCE = Pass(budget=1024, sharing=True)
CHOSEN_AT_ONCE = 32
"""Questions whose labels are scored together: enough to share what prompts begin with, few enough to hold."""


def suitable(questions: Sequence[Question], settings: GenerationSettings | None) -> tuple[GenerationSettings, str]:
    """The settings, or where there are none greedy answers up to twice as long as the longest reference, and why."""
    if settings is not None:
        return settings, "as asked"
    longest = max((question.targets for question in questions if question.prompt), default=1)
    limit = max(32, 2 * longest)
    return GenerationSettings(max_new_tokens=limit), f"twice the longest reference ({longest} tokens), at least 32"


def items_of(
    network: Network,
    encoder: Encoder,
    questions: Sequence[Question],
    *,
    settings: GenerationSettings | None,
    likelihood: bool,
) -> list[Item]:
    """One item for each question, in order. Without `settings` no answer is generated."""
    answers = _answers(network, encoder, questions, settings)
    nats = _nats(network, questions) if likelihood else [math.nan] * len(questions)
    return [
        Item(
            answer=encoder.tokenizer.decode(answer.ids),
            reference=question.reference,
            finished=answer.finished == "stop",
            nats=loss,
            targets=question.targets if likelihood else 0,
            prompt=question.prompt[-1].content if question.prompt else "",
        )
        for question, answer, loss in zip(questions, answers, nats, strict=True)
    ]


def chosen_items(
    network: Network, encoder: Encoder, questions: Sequence[Question], labels: Sequence[str]
) -> list[Item]:
    """One item for each question, in order: the likeliest of the labels, each scored as a whole answer.

    Each label is read once for a question, on one copy of the prompt; what prompts begin with in common stands once
    under all of them. An item keeps the log-probability of every label, so it says how sure the choice was.
    """
    endings = answer_ids(encoder, labels)
    found = []
    for start in range(0, len(questions), CHOSEN_AT_ONCE):
        some = questions[start : start + CHOSEN_AT_ONCE]
        scores = log_probabilities(network, [Choice(question.prompt_ids, endings) for question in some])
        for question, nats in zip(some, scores, strict=True):
            reference = question.reference.strip()
            known = labels.index(reference) if reference in labels else None
            found.append(
                Item(
                    answer=labels[max(range(len(nats)), key=nats.__getitem__)],
                    reference=reference,
                    nats=math.nan if known is None else -nats[known],
                    targets=0 if known is None else len(endings[known]),
                    prompt=question.prompt[-1].content if question.prompt else "",
                    options=dict(zip(labels, nats, strict=True)),
                )
            )
    return found


def _answers(
    network: Network, encoder: Encoder, questions: Sequence[Question], settings: GenerationSettings | None
) -> list[Completion]:
    """The completions; an empty one where nothing is asked."""
    asked = [place for place, question in enumerate(questions) if question.prompt and settings is not None]
    found = [Completion((), "length")] * len(questions)
    if settings is not None:
        prompts = [questions[place].prompt_ids for place in asked]
        answers = generate(network.model, prompts, settings=settings, stop_ids=encoder.stop_ids)
        for place, answer in zip(asked, answers, strict=True):
            found[place] = answer
    return found


def _nats(network: Network, questions: Sequence[Question]) -> list[float]:
    """The summed negative log-likelihood of each reference."""
    parts = [part for question in questions for part in question.parts]
    if not parts:
        return [0.0] * len(questions)
    measured = measure(network, parts, MEASURED_AT_ONCE).example_loss
    sums = [mean * part.target_weight for mean, part in zip(measured, parts, strict=True)]
    ends = np.cumsum([len(question.parts) for question in questions])
    starts = [0, *ends[:-1].tolist()]
    return [math.fsum(sums[start:end]) for start, end in zip(starts, ends.tolist(), strict=True)]
