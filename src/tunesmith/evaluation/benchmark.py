"""From a task to questions: rows, solved rows before them, prompts as ids, and the items that metrics score.

The decision: a plain-text prompt and its answer are tokenised as one text and cut where the prompt ends, with the
spaces that end a prompt counted to the answer, as lm-evaluation-harness does it; so log-likelihoods compare with what
is published. Options of one question, and questions under the same solved rows, share one copy of what they share.
"""

import csv
import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice, zip_longest
from pathlib import Path
from typing import Any

from tunesmith.data.checks import Finding
from tunesmith.data.example import Message
from tunesmith.data.records import read_file
from tunesmith.errors import DataError
from tunesmith.evaluation.item import Item
from tunesmith.evaluation.places import Place, questions_at, shots_at
from tunesmith.evaluation.question import answer_ids
from tunesmith.evaluation.task import Task, options_of, render
from tunesmith.generation.decode import generate
from tunesmith.generation.scoring import Choice, log_probabilities
from tunesmith.generation.settings import GenerationSettings
from tunesmith.generation.until import Until, cut
from tunesmith.models.forward import Network
from tunesmith.tokens.encode import Encoder


@dataclass(frozen=True, slots=True)
class Asked:
    """One question of a task: its text, the options (none where the answer is free), the right answer."""

    subset: str
    prompt: str
    options: tuple[str, ...]
    reference: str


def asked(task: Task, place: Path, *, subset: str | None, shots: int | None, limit: int | None) -> list[Asked]:
    """The questions of a task, `limit` of them taken from its subsets in turn.

    Raises:
        DataError: a file is missing, or a row does not fit the task.
    """
    files = questions_at(task, place, subset)
    if not files:
        raise DataError(f"{task.name}: there is no subset {subset!r} in {task.data}.")
    subsets = dict.fromkeys(file.subset for file in files)
    parts = [_of_subset(task, place, [file for file in files if file.subset == name], shots) for name in subsets]
    turns = (one for turn in zip_longest(*parts) for one in turn if one is not None)
    return list(islice(turns, limit))


def _of_subset(task: Task, place: Path, files: Sequence[Place], shots: int | None) -> Iterator[Asked]:
    subset, solved, count = files[0].subset, None, 0
    if task.shots is not None:
        count = task.shots.count if shots is None else shots
        solved = shots_at(task, task.shots.data, place, subset) if task.shots.data is not None and count else None
    before = _before(task, solved, subset, count)
    for file in files:
        own = count if solved is not None and solved.path == file.path else 0  # they stand solved before the others
        for number, row in enumerate(islice(_rows(task, file), own, None), start=own + 1):
            yield _question(task, {**row, "subset": subset}, before, f"{file.path}:{number}")


def _question(task: Task, fields: Mapping[str, Any], before: str, where: str) -> Asked:
    options = options_of(task, fields, where)
    reference = render(task.answer, fields, where)
    if options and reference not in options:
        raise DataError(f"{where}: the right answer {reference!r} is none of the options {list(options)}.")
    return Asked(fields["subset"], before + render(task.prompt, fields, where), options, reference)


def _before(task: Task, solved: Place | None, subset: str, count: int) -> str:
    """The description and the solved rows."""
    text = render(task.description, {"subset": subset}, task.name)
    if task.shots is None:
        return text
    rows: Sequence[Mapping[str, Any]] = task.shots.rows if solved is None else list(islice(_rows(task, solved), count))
    if len(rows) < count:
        raise DataError(f"{task.name}: {count} solved rows are asked for, and there are {len(rows)}.")
    for number, row in enumerate(rows[:count], start=1):
        fields, where = {**row, "subset": subset}, f"{task.name}, solved row {number}"
        text += render(task.prompt, fields, where) + task.between + render(task.answer, fields, where) + task.shots.join
    return text


def _rows(task: Task, file: Place) -> Iterator[Mapping[str, Any]]:
    """The rows of a file, with the fields that the task gives them."""
    for number, row in enumerate(_raw(task, file.path), start=1):
        where = f"{file.path}:{number}"
        if not isinstance(row, Mapping):
            raise DataError(f"{where}: expected a row with fields, found {type(row).__name__}.")
        yield {**row, **{name: render(text, row, where) for name, text in file.fields.items()}}


def _raw(task: Task, path: Path) -> Iterator[Any]:
    try:
        if task.columns is not None and path.suffix == ".csv":
            with path.open(encoding="utf-8", newline="") as file:
                yield from (dict(zip(task.columns, row, strict=False)) for row in csv.reader(file))
        elif task.at is not None and path.suffix == ".json":
            yield from json.loads(path.read_text(encoding="utf-8"))[task.at]
        else:
            for record in read_file(path):
                if isinstance(record, Finding):
                    raise DataError(str(record))
                yield record.value
    except (ValueError, LookupError, TypeError, csv.Error) as error:
        raise DataError(f"{path}: does not hold rows as the task {task.name} says ({error!r}).") from error


def unanswered(task: Task, questions: Sequence[Asked]) -> list[Item]:
    """What is known of the items before anything is answered: what a metric's needs look at."""
    return [
        Item(
            "",
            question.reference,
            nats=0.0 if question.options else math.nan,
            targets=1,
            prompt=question.prompt,
            options=dict.fromkeys(question.options, 0.0),
        )
        for question in questions
        for _ in range(task.samples if task.options is None else 1)
    ]


def items(network: Network, encoder: Encoder, task: Task, questions: Sequence[Asked]) -> list[Item]:
    """One item for each question, in order: the likeliest option, or what the model writes."""
    if task.options is None:
        return _written(network, encoder, task, questions)
    choices = [choice(encoder, task, question) for question in questions]
    found = log_probabilities(network, choices)
    return [
        Item(
            answer=question.options[max(range(len(nats)), key=nats.__getitem__)],
            reference=question.reference,
            nats=-nats[question.options.index(question.reference)],
            targets=len(of.options[question.options.index(question.reference)]),
            prompt=question.prompt,
            options=dict(zip(question.options, nats, strict=True)),
        )
        for question, of, nats in zip(questions, choices, found, strict=True)
    ]


def choice(encoder: Encoder, task: Task, question: Asked) -> Choice:
    """A question and its options as token ids."""
    if task.chat:
        return Choice(prompt_ids(encoder, task, question), answer_ids(encoder, question.options))
    pairs = [_pair(encoder, question.prompt, task.between + option) for option in question.options]
    if any(context != pairs[0][0] for context, _ in pairs):
        raise DataError(f"{task.name}: the tokenizer cuts the prompt of {question.prompt[-80:]!r} in several ways.")
    return Choice(pairs[0][0], [continuation for _, continuation in pairs])


def longest(encoder: Encoder, task: Task, questions: Sequence[Asked]) -> int:
    """Tokens of the longest question, about: that of the longest text, and room for its answer."""
    most = max(questions, key=lambda question: len(question.prompt) + len(max(question.options, key=len, default="")))
    text = most.prompt + task.between + max(most.options, key=len, default="")
    return len(encoder.tokenizer.encode(text)) + 64


def _pair(encoder: Encoder, context: str, continuation: str) -> tuple[list[int], list[int]]:
    """The ids of a plain-text prompt and of what goes on, as lm-evaluation-harness cuts them."""
    kept = context.rstrip()
    continuation = context[len(kept) :] + continuation
    whole, before = _plain(encoder, kept + continuation), _plain(encoder, kept)
    return whole[: len(before)], whole[len(before) :]


def _plain(encoder: Encoder, text: str) -> list[int]:
    tokenizer = encoder.tokenizer
    ids = tokenizer.encode(text)
    return [tokenizer.bos_id, *ids] if tokenizer.adds_bos and tokenizer.bos_id is not None else ids


def prompt_ids(encoder: Encoder, task: Task, question: Asked) -> list[int]:
    """The ids of a prompt: through the chat template, or as plain text."""
    if task.chat:
        return encoder.prompt([Message("user", question.prompt)])
    return _plain(encoder, question.prompt)


def settings_of(task: Task) -> GenerationSettings:
    """How the free answers of a task are written: greedily, or drawn where a question is answered several times."""
    heat = task.temperature if task.samples > 1 else 0.0
    return GenerationSettings(max_new_tokens=task.max_new_tokens, temperature=heat)


def repeated(task: Task, questions: Sequence[Asked]) -> list[Asked]:
    """The questions as often as a task has them answered."""
    return [question for question in questions for _ in range(task.samples)]


def item_of(task: Task, question: Asked, text: str, finished: bool) -> Item:
    """What was written to a question, up to where the task says that an answer ends."""
    answer, ended = cut(text, task.until)
    answer = answer if task.keep_spaces else answer.strip()
    return Item(answer, question.reference, finished or ended, math.nan, 0, question.prompt)


def _written(network: Network, encoder: Encoder, task: Task, questions: Sequence[Asked]) -> list[Item]:
    questions = repeated(task, questions)
    prompts = [prompt_ids(encoder, task, question) for question in questions]
    ended = Until(encoder.tokenizer, task.until).ended
    answers = generate(network.model, prompts, settings=settings_of(task), stop_ids=encoder.stop_ids, ended=ended)
    return [
        item_of(task, question, encoder.tokenizer.decode(answer.ids), answer.finished == "stop")
        for question, answer in zip(questions, answers, strict=True)
    ]
