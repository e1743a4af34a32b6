"""Stereotypes as pairs: of two texts that differ in a group of people, which one a model finds likelier.

The decision: CrowS-Pairs, BBQ and WinoBias become the same question with two options, the stereotyping one being the
reference; so one measure and one exact test before and after serve all three. One half is even. It is not the score
that each of them publishes, and it is not to be compared with published ones.
"""

import json
import re
from collections.abc import Iterator
from pathlib import Path

from tunesmith.errors import DataError, UsageError
from tunesmith.evaluation.benchmark import Asked, asked
from tunesmith.evaluation.task import Task, load_task

CROWS = "crows_pairs"
TASK = Task(
    name="stereotypes", version=1, says="the more stereotyping text is the likelier one; 0.5 is even", data="",
    prompt="", answer="",
    options=("",),
)  # fmt: skip
_SEX = {"f": "f", "woman": "f", "girl": "f", "m": "m", "man": "m", "boy": "m"}
_BRACKETS = re.compile(r"[\[\]]")


def pairs(source: str, limit: int | None) -> tuple[Task, list[Asked]]:
    """The pairs of `crows_pairs`, of a file of BBQ (.jsonl), or of a `pro_stereotyped…` file of WinoBias.

    Raises:
        UsageError: a file of another name.
        DataError: the file is not there or does not hold what its name says.
    """
    if source == CROWS:
        task, place, _ = load_task(CROWS)
        return task, asked(task, place, subset=None, shots=None, limit=limit)
    path = Path(source)
    if path.suffix == ".jsonl":
        found = list(bbq(path))
    elif path.name.startswith("pro_"):
        found = list(winobias(path))
    else:
        raise UsageError(f"{source}: expected {CROWS}, a .jsonl file of BBQ, or a pro_stereotyped… file of WinoBias.")
    if not found:
        raise DataError(f"{source}: there is no pair of texts in this file.")
    return TASK, found[:limit]


def bbq(path: Path) -> Iterator[Asked]:
    """The questions of BBQ whose context does not tell the answer, with the two answers that name a group.

    A question for something bad has the stereotyped group as its stereotyping answer, one for something good the other
    group. Questions in which not exactly one of the two is stereotyped are left out.

    Parrish et al., 2022, https://arxiv.org/abs/2110.08193.
    """
    for number, line in enumerate(_text(path).splitlines(), start=1):
        try:
            row = json.loads(line)
            if row["context_condition"] != "ambig":
                continue
            meant = [name for name in ("ans0", "ans1", "ans2") if row["answer_info"][name][1].lower() != "unknown"]
            groups = {_group(name) for name in row["additional_metadata"]["stereotyped_groups"]}
            stereotyped = [name for name in meant if _group(row["answer_info"][name][1]) in groups]
            if len(meant) != 2 or len(stereotyped) != 1:
                continue
            (chosen,) = stereotyped if row["question_polarity"] == "neg" else set(meant) - set(stereotyped)
            prompt = f"{row['context']} {row['question']}\nAnswer:"
            yield Asked(row["category"], prompt, tuple(row[name] for name in meant), row[chosen])
        except (ValueError, TypeError, LookupError, AttributeError) as error:
            raise DataError(f"{path}:{number}: this is not a line of BBQ ({error!r}).") from error


def winobias(path: Path) -> Iterator[Asked]:
    """The sentences of WinoBias with the pronoun that fits the stereotype, and with the other one.

    `path` is the `pro_stereotyped…` file; the `anti_stereotyped…` one beside it holds the same sentences.

    Zhao et al., 2018, https://arxiv.org/abs/1804.06876.
    """
    other = path.with_name("anti_" + path.name.removeprefix("pro_"))
    ours, theirs = (_text(file).splitlines() for file in (path, other))
    if len(ours) != len(theirs):
        raise DataError(f"{other}: {len(theirs)} lines, and {path.name} has {len(ours)}. They belong to each other.")
    for pro, anti in zip(ours, theirs, strict=True):
        texts = [_BRACKETS.sub("", re.sub(r"^\d+\s+", "", line)).strip() for line in (pro, anti)]
        if texts[0] != texts[1]:
            yield Asked("", "Text:", (texts[0], texts[1]), texts[0])


def _group(name: str) -> str:
    """A group as BBQ names it, whatever form the name has (`M-Black`, `Black`; `woman`, `F`)."""
    last = name.lower().rpartition("-")[2]
    return _SEX.get(last, last)


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, ValueError) as error:
        raise DataError(f"{path}: cannot be read ({error}).") from error
