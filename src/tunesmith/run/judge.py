"""The verb `judge`: free answers of a model, judged by another one, with guards of the judge beside the result.

The decision: who answers and who judges is a name: a run, a model or an endpoint. The same three questions are always
asked: who wins, whether an answer that says nothing would win too, and whether length alone decides. What was said is
kept under `--out` as it is said, so a judging that was stopped goes on where it stopped.
"""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import orjson

from tunesmith.data.example import Message
from tunesmith.errors import DataError, UsageError
from tunesmith.evaluation.endpoint import Endpoint, is_endpoint
from tunesmith.evaluation.judging import (
    NOTHING,
    Judge,
    Talk,
    compare_answers,
    longer_marks,
    longer_wins,
    mark_warnings,
    mean_mark,
    rated,
    warnings,
)
from tunesmith.evaluation.metrics import Score
from tunesmith.evaluation.places import files_of
from tunesmith.evaluation.said import Said
from tunesmith.generation.decode import generate
from tunesmith.generation.settings import GenerationSettings
from tunesmith.models.fingerprint import fingerprint
from tunesmith.models.folder import is_adapter
from tunesmith.models.load import base_of
from tunesmith.run.opened import Opened, Say, open_model, to_stderr

Speak = Callable[..., Judge]
"""`speaker` with everything but the name and the number of tokens."""
ANSWER_TOKENS, VERDICT_TOKENS = 512, 512
GUARDED = 20
"""Questions on which the answer that says nothing is judged."""
SAID = "said.jsonl"
ALPACA, PROMPTS, QUESTIONS, REFERENCES = (
    "alpaca_eval/text_davinci_003.json", "mt_bench/judge_prompts.jsonl", "mt_bench/question.jsonl",
    "mt_bench/reference_answer_gpt-4.jsonl",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Judged:
    """The scores by name, what makes the judge doubtful, and every item."""

    scores: dict[str, Score]
    warnings: Sequence[str]
    items: Sequence[dict[str, Any]] = field(repr=False)

    def as_dict(self) -> dict[str, Any]:
        """`{scores: {name: {value, low, high, items}}, warnings}`."""
        return {"scores": {name: s.as_dict() for name, s in self.scores.items()}, "warnings": list(self.warnings)}


def speaker(name: str, *, tokens: int, said: Said, say: Say) -> Judge:
    """What answers conversations: an endpoint, or a model opened here; what it `said` before is not asked again.

    Raises:
        UsageError: there is no such model, or the endpoint does not answer.
    """
    if is_endpoint(name):
        endpoint = Endpoint.of(name)
        return said.by(
            f"{name}, {tokens} tokens", lambda asked: [text for text, _ in endpoint.answers(asked, max_tokens=tokens)]
        )
    opened = open_model(name, say=say)

    def answers(asked: Sequence[Sequence[Message]]) -> list[str]:
        prompts = [opened.encoder.prompt(list(messages)) for messages in asked]
        settings = GenerationSettings(max_new_tokens=tokens)
        found = generate(opened.model, prompts, settings=settings, stop_ids=opened.encoder.stop_ids)
        return [opened.encoder.tokenizer.decode(answer.ids) for answer in found]

    return said.by(f"{_identity(opened)}, {tokens} tokens", answers)


def _identity(opened: Opened) -> str:
    """What makes a model answer as it does; a name alone may stand for other weights tomorrow."""
    folders = [opened.folder, *([base_of(opened.folder).folder] if is_adapter(opened.folder) else [])]
    return " ".join([*(fingerprint(folder) for folder in folders), opened.encoder.fingerprint])


def judge(
    model: str,
    task: str,
    by: str,
    *,
    against: str | None = None,
    limit: int | None = None,
    out: Path | None = None,
    say: Say = to_stderr,
) -> Judged:
    """The answers of `model` to `alpaca_eval` or `mt_bench`, judged `by` a model or an endpoint.

    AlpacaEval: the win rate against the published reference outputs, or `against` another model, each pair in both
    orders; raw, not length-controlled. MT-Bench: marks from 1 to 10 of both turns; with `against`, the win rate of
    whole talks in both orders. Under `out` come `judged.json`, `judged.jsonl` and, as they are said, all answers and
    verdicts (`said.jsonl`); what stands there from the same speakers and prompts is not asked again.

    Raises:
        UsageError: a task or model that is not known, or an endpoint that does not answer.
        DataError: the files of the task are missing or do not fit.
    """
    if task not in ("alpaca_eval", "mt_bench"):
        raise UsageError(f"There is no judged task {task!r}. Known: alpaca_eval, mt_bench.")
    if out is not None:
        out.mkdir(parents=True, exist_ok=True)
    said = Said(out / SAID if out is not None else None)
    speak = partial(speaker, said=said, say=say)
    if task == "alpaca_eval":
        found = _alpaca(model, by, against, limit, speak)
    elif against is None:
        found = _marks(model, by, limit, speak)
    else:
        found = _talks(model, by, against, limit, speak)
    if said.taken:
        say(f"{said.taken:,} answers and verdicts were said before, and are not asked again ({SAID})")
    for warning in found.warnings:
        say(f"warning: {warning}")
    if out is not None:
        (out / "judged.jsonl").write_text("".join(json.dumps(item) + "\n" for item in found.items), encoding="utf-8")
        (out / "judged.json").write_bytes(orjson.dumps(found.as_dict(), option=orjson.OPT_INDENT_2) + b"\n")
    return found


def _alpaca(model: str, by: str, against: str | None, limit: int | None, speak: Speak) -> Judged:
    rows = json.loads(_file(ALPACA).read_text(encoding="utf-8"))[:limit]
    requests = [[Message("user", row["instruction"])] for row in rows]
    ours = speak(model, tokens=ANSWER_TOKENS)(requests)
    theirs = [row["output"] for row in rows]
    if against is not None:
        theirs = list(speak(against, tokens=ANSWER_TOKENS)(requests))
    return _preferred(requests, ours, theirs, speak(by, tokens=VERDICT_TOKENS))


def _preferred(
    requests: Sequence[Sequence[Message]], ours: Sequence[str], theirs: Sequence[str], judging: Judge
) -> Judged:
    found = compare_answers(judging, requests, ours, theirs)
    some = requests[:GUARDED]
    nothing = compare_answers(judging, some, [NOTHING] * len(some), theirs[:GUARDED])
    longer = longer_wins(found.points, ours, theirs)
    scores = {"win_rate": found.rate, "win_rate_of_nothing": nothing.rate, "longer_wins": longer}
    told = warnings(nothing, longer)
    if found.unread:
        told.append(f"{found.unread} of {2 * len(requests)} verdicts could not be read; they count for nobody")
    told.append(f"both orders agree on {found.agreed} of {len(requests)} items; where they do not, nobody won")
    items = [
        {"index": i, "request": request[-1].content, "ours": a, "theirs": b, "points": point}
        for i, (request, a, b, point) in enumerate(zip(requests, ours, theirs, found.points, strict=True))
    ]
    return Judged(scores, told, items)


def _marks(model: str, by: str, limit: int | None, speak: Speak) -> Judged:
    talks = _asked(model, limit, speak)
    prompts = {row["name"]: row for row in _rows(PROMPTS)}
    judging = speak(by, tokens=VERDICT_TOKENS)
    marks = rated(judging, prompts, talks)
    silent = [replace(talk, answers=(NOTHING,) * len(talk.answers)) for talk in talks[:GUARDED]]
    nothing, longer = mean_mark(rated(judging, prompts, silent)), longer_marks(talks, marks)
    named = {
        "mark": mean_mark(marks), "mark_first_turn": mean_mark(marks, (0,)), "mark_second_turn": mean_mark(marks, (1,)),
        "mark_of_nothing": nothing, "longer_marked_higher": longer,
    }  # fmt: skip
    scores = {name: score for name, score in named.items() if score is not None}
    unread = sum(m is None for of in marks for m in of)
    told = mark_warnings(nothing, longer)
    if unread:
        told.append(f"{unread} of {2 * len(talks)} marks could not be read; they count for nobody")
    items = [
        {"index": i, "questions": talk.questions, "answers": talk.answers, "marks": of}
        for i, (talk, of) in enumerate(zip(talks, marks, strict=True))
    ]
    return Judged(scores, told, items)


def _talks(model: str, by: str, against: str, limit: int | None, speak: Speak) -> Judged:
    ours, theirs = _asked(model, limit, speak), _asked(against, limit, speak)
    requests = [[Message("user", question) for question in talk.questions] for talk in ours]
    texts = [["\n\n[next turn]\n".join(talk.answers) for talk in side] for side in (ours, theirs)]
    return _preferred(requests, texts[0], texts[1], speak(by, tokens=VERDICT_TOKENS))


def _asked(model: str, limit: int | None, speak: Speak) -> list[Talk]:
    """Both turns of MT-Bench's questions, answered one after the other."""
    rows = _rows(QUESTIONS)[:limit]
    references = {row["question_id"]: tuple(row["choices"][0]["turns"]) for row in _rows(REFERENCES)}
    answering = speak(model, tokens=ANSWER_TOKENS)
    talks: list[list[Message]] = [[] for _ in rows]
    answers: list[list[str]] = [[] for _ in rows]
    for turn in range(2):
        for talk, row in zip(talks, rows, strict=True):
            talk.append(Message("user", row["turns"][turn]))
        for talk, given, text in zip(talks, answers, answering(talks), strict=True):
            talk.append(Message("assistant", text))
            given.append(text)
    return [
        Talk(tuple(row["turns"]), tuple(given), references.get(row["question_id"], ()))
        for row, given in zip(rows, answers, strict=True)
    ]


def _file(name: str) -> Path:
    ((path, _),) = files_of(name, Path.cwd() / name)
    return path


def _rows(name: str) -> list[dict[str, Any]]:
    path = _file(name)
    try:
        return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
    except ValueError as error:
        raise DataError(f"{path}: not JSON lines ({error}).") from error
