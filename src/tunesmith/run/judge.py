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
from tunesmith.errors import DataError, ModelError, UsageError
from tunesmith.evaluation.endpoint import Endpoint, is_endpoint
from tunesmith.evaluation.judging import NOTHING, Judge, Preferences, compare_answers, longer_wins, warnings
from tunesmith.evaluation.metrics import Score
from tunesmith.evaluation.mt_bench import (
    OURS,
    TURNS,
    Prompts,
    Talk,
    longer_marks,
    mark_warnings,
    mean_mark,
    preferred_talks,
    rated,
)
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
    """The scores by name, where there are verdicts, what makes the judge doubtful, and every item."""

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
    settings = GenerationSettings(max_new_tokens=tokens)
    if is_endpoint(name):
        endpoint = Endpoint.of(name)
        return said.by(
            f"{name}, {tokens} tokens", lambda asked: [text for text, _ in endpoint.answers(asked, settings)]
        )
    opened = open_model(name, say=say)

    def answers(asked: Sequence[Sequence[Message]]) -> list[str]:
        prompts = [opened.encoder.prompt(list(messages)) for messages in asked]
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

    AlpacaEval: the win rate against the published outputs of text-davinci-003, or `against` those of another file
    (`gpt4_1106_preview.json`) or another model, each pair in both orders by a prompt of our own; raw, not
    length-controlled. MT-Bench: marks from 1 to 10 of both turns; with `against`, the win rate
    of each turn in both orders. Under `out` come `judged.json`, `judged.jsonl` and, as they are said, all answers and
    verdicts (`said.jsonl`); what stands there from the same speakers and prompts is not asked again.

    Raises:
        UsageError: a task or model that is not known, or an endpoint that does not answer.
        DataError: the files of the task are missing or do not fit.
        ModelError: no verdict could be read.
    """
    if task not in ("alpaca_eval", "mt_bench"):
        raise UsageError(f"There is no judged task {task!r}. Known: alpaca_eval, mt_bench.")
    if task == "mt_bench" and _is_file(against):
        raise UsageError(f"{against}: MT-Bench has no published outputs to win against. Name a model or an endpoint.")
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
    found = replace(found, scores={name: score for name, score in found.scores.items() if score.items})
    if said.taken:
        say(f"{said.taken:,} answers and verdicts were said before, and are not asked again ({SAID})")
    for warning in found.warnings:
        say(f"warning: {warning}")
    if out is not None:
        told = {"model": model, "task": task, "by": by, "against": against, **found.as_dict()}
        (out / "judged.jsonl").write_text("".join(json.dumps(item) + "\n" for item in found.items), encoding="utf-8")
        (out / "judged.json").write_bytes(orjson.dumps(told, option=orjson.OPT_INDENT_2) + b"\n")
    if not found.scores:
        raise ModelError(
            f"{by}: none of its verdicts could be read, so nothing was measured. Take a judge that follows instructions"
            + (f"; {out / SAID} holds what it said." if out is not None else "; --out DIR keeps what it says.")
        )
    return found


def _alpaca(model: str, by: str, against: str | None, limit: int | None, speak: Speak) -> Judged:
    published = against if _is_file(against) else None
    rows = _outputs(published or ALPACA)[:limit]
    requests = [[Message("user", row["instruction"])] for row in rows]
    ours = speak(model, tokens=ANSWER_TOKENS)(requests)
    theirs = [row["output"] for row in rows]
    if against is not None and published is None:
        theirs = list(speak(against, tokens=ANSWER_TOKENS)(requests))
    judging = speak(by, tokens=VERDICT_TOKENS)
    found = compare_answers(judging, requests, ours, theirs)
    some = requests[:GUARDED]
    nothing = compare_answers(judging, some, [NOTHING] * len(some), theirs[:GUARDED])
    items = [
        {"index": i, "request": request[-1].content, "ours": a, "theirs": b, "points": point}
        for i, (request, a, b, point) in enumerate(zip(requests, ours, theirs, found.points, strict=True))
    ]
    scores, told = _guarded(found, nothing, ours, theirs)
    return Judged(scores, told, items)


def _guarded(
    found: Preferences, nothing: Preferences, ours: Sequence[str], theirs: Sequence[str]
) -> tuple[dict[str, Score], list[str]]:
    """The win rate beside its guards, and what makes the judge doubtful."""
    longer, pairs = longer_wins(found.points, ours, theirs), len(found.points)
    told = warnings(nothing, longer)
    if found.unread:
        told.append(f"{found.unread} of {2 * pairs} verdicts could not be read; they count for nobody")
    told.append(f"both orders agree on {found.agreed} of {pairs} pairs; where they do not, nobody won")
    return {"win_rate": found.rate, "win_rate_of_nothing": nothing.rate, "longer_wins": longer}, told


def _marks(model: str, by: str, limit: int | None, speak: Speak) -> Judged:
    talks = _asked(model, limit, speak)
    prompts = _prompts()
    judging = speak(by, tokens=VERDICT_TOKENS)
    marks = rated(judging, prompts, talks)
    nothing, longer = mean_mark(rated(judging, prompts, _silent(talks))), longer_marks(talks, marks)
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
        {"index": i, "questions": talk.questions, "answers": talk.answers, "marks": of, "references": talk.references}
        for i, (talk, of) in enumerate(zip(talks, marks, strict=True))
    ]
    return Judged(scores, told, items)


def _talks(model: str, by: str, against: str, limit: int | None, speak: Speak) -> Judged:
    ours, theirs = _asked(model, limit, speak), _asked(against, limit, speak)
    judging, prompts = speak(by, tokens=VERDICT_TOKENS), _pair_prompts()
    found = preferred_talks(judging, prompts, ours, theirs)
    nothing = preferred_talks(judging, prompts, _silent(ours), theirs[:GUARDED])
    texts = [[answer for talk in side for answer in talk.answers] for side in (ours, theirs)]
    scores, told = _guarded(found, nothing, *texts)
    for turn, name in enumerate(("win_rate_first_turn", "win_rate_second_turn")):
        scores[name] = Preferences(found.points[turn::TURNS], 0, 0).rate
    if prompts is OURS:
        told.append(f"{PROMPTS} holds no prompts for pairs, so our own were used: no rate of MT-Bench")
    items = [
        {
            "index": i, "questions": a.questions, "references": a.references, "ours": a.answers, "theirs": b.answers,
            "points": found.points[TURNS * i : TURNS * (i + 1)],
        }
        for i, (a, b) in enumerate(zip(ours, theirs, strict=True))
    ]  # fmt: skip
    return Judged(scores, told, items)


def _silent(talks: Sequence[Talk]) -> list[Talk]:
    """Some of the talks, answered with nothing."""
    return [replace(talk, answers=(NOTHING,) * len(talk.answers)) for talk in talks[:GUARDED]]


def _prompts() -> Prompts:
    return {str(row.get("name")): row for row in _rows(PROMPTS)}


def _pair_prompts() -> Prompts:
    """The benchmark's own where its file is here and has them, else ours."""
    try:
        _file(PROMPTS)
    except DataError:
        return OURS
    found = _prompts()
    return found if OURS.keys() <= found.keys() else OURS


def _asked(model: str, limit: int | None, speak: Speak) -> list[Talk]:
    """Both turns of MT-Bench's questions, answered one after the other."""
    rows = _rows(QUESTIONS)[:limit]
    references = {row["question_id"]: tuple(row["choices"][0]["turns"]) for row in _rows(REFERENCES)}
    if short := [name for name, turns in references.items() if len(turns) != TURNS]:
        raise DataError(f"{REFERENCES}: question {short[0]} has no reference for each of {TURNS} turns. Correct it.")
    answering = speak(model, tokens=ANSWER_TOKENS)
    talks: list[list[Message]] = [[] for _ in rows]
    answers: list[list[str]] = [[] for _ in rows]
    for turn in range(TURNS):
        for talk, row in zip(talks, rows, strict=True):
            talk.append(Message("user", row["turns"][turn]))
        for talk, given, text in zip(talks, answers, answering(talks), strict=True):
            talk.append(Message("assistant", text))
            given.append(text)
    return [
        Talk(tuple(row["turns"]), tuple(given), references.get(row["question_id"], ()))
        for row, given in zip(rows, answers, strict=True)
    ]


def _is_file(against: str | None) -> bool:
    """Whether it is published outputs that are named, not a model."""
    return against is not None and against.endswith(".json") and not is_endpoint(against)


def _outputs(name: str) -> list[dict[str, str]]:
    """Requests with somebody's outputs: a file of your own, or one of the benchmark's by its name."""
    path = Path(name) if Path(name).is_file() else _file(name if "/" in name else f"{Path(ALPACA).parent}/{name}")
    try:
        return [{key: str(row[key]) for key in ("instruction", "output")} for row in json.loads(path.read_bytes())]
    except (ValueError, LookupError, TypeError) as error:
        raise DataError(
            f"{path}: not outputs of AlpacaEval, a JSON list of instruction and output ({error!r})."
        ) from error


def _file(name: str) -> Path:
    ((path, _),) = files_of(name, Path.cwd() / name)
    return path


def _rows(name: str) -> list[dict[str, Any]]:
    path = _file(name)
    try:
        return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
    except ValueError as error:
        raise DataError(f"{path}: not JSON lines ({error}).") from error
