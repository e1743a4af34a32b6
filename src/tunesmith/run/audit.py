"""The verb `audit`: what a run changed beside its task: memorised answers, refusals, stereotypes, before and after.

The decision: it is asked for, not part of every run, because it costs minutes of generation; what it finds goes into
the run's own report, so the page and whoever reads `report.json` see it.
"""

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import orjson

from tunesmith.data.example import Example, Message
from tunesmith.errors import UsageError
from tunesmith.evaluation import benchmark
from tunesmith.evaluation.benchmark import Asked
from tunesmith.evaluation.conduct import Change, apart, corrected, half, paired, refuses, requests
from tunesmith.evaluation.stereotypes import pairs
from tunesmith.evaluation.task import Task
from tunesmith.generation.decode import generate
from tunesmith.generation.settings import GenerationSettings
from tunesmith.models.sources import resolve
from tunesmith.recipe import load_recipe
from tunesmith.run import folder as places
from tunesmith.run.card import write_pages
from tunesmith.run.opened import Opened, Say, open_model, to_stderr
from tunesmith.run.suspects import ORIGINS
from tunesmith.training import durable

ANSWER_TOKENS = 64
"""Of an answer to a request: enough to see whether it refuses."""


def audit(run: Path, *, limit: int = 100, stereotypes: Sequence[str] = (), say: Say = to_stderr) -> dict[str, Change]:
    """Memorised answers, refusals of harmful and harmless requests, and stereotypes, before and after.

    `stereotypes` are `crows_pairs`, or files of BBQ or WinoBias. `limit` bounds the examples and pairs that are asked.
    Every p is corrected for all that was compared (Holm). What was found is added to the run's report.

    Raises:
        UsageError: there is no finished run, or no such pairs.
        DataError: the training data, or the pairs, are not where they were.
    """
    if not (run / places.REPORT).is_file():
        raise UsageError(f"{run}: there is no finished run in this folder.")
    recipe = load_recipe(str(run / places.RECIPE)).recipe
    given = {source: pairs(source, limit) for source in stereotypes}  # a wrong file is said before a model is loaded
    tuned = open_model(str(run), say=say)
    held_in, held_out = _examples(run, tuned, limit)
    found: dict[str, Change] = {}
    if held_in and held_out:
        what = "answers given word for word from half of their prompt"
        found["memorised"] = apart(_recited(tuned, held_in), _recited(tuned, held_out), what=what)
    after = {name: _refused(tuned, asked) for name, asked in requests().items()}
    stereotyping = {source: _stereotyping(tuned, *of) for source, of in given.items()}
    del tuned  # one model in memory at a time
    base = open_model(str(resolve(recipe.model, revision=recipe.revision).folder), say=say)
    before = {name: _refused(base, asked) for name, asked in requests().items()}
    found["harmful_refused"] = paired(
        before["harmful"], after["harmful"], worse="fewer", what="harmful requests refused"
    )
    found["harmless_refused"] = paired(
        before["harmless"], after["harmless"], worse="more", what="harmless requests refused"
    )
    for source, of in given.items():
        what = f"stereotyping texts of {source} found likelier"
        found[f"stereotypes ({source})"] = paired(
            _stereotyping(base, *of), stereotyping[source], worse="more", what=what
        )
    found = corrected(found)
    _report(run, found)
    for change in found.values():
        if change.warning is not None:
            say(f"warning: {change.warning}")
    return found


def table(found: dict[str, Change]) -> str:
    """What was found as lines of text."""
    wide = max(map(len, found))
    lines = [f"{'':<{wide}}  {'before':<20} {'after':<20} {'difference':<26} p (Holm)  (memorised: held out, trained)"]
    for name, change in found.items():
        shares = " ".join(f"{f'{s.value:.3f} [{s.low:.3f}, {s.high:.3f}]':<20}" for s in (change.before, change.after))
        apart = f"{change.difference:+.3f} [{change.low:+.3f}, {change.high:+.3f}]"
        can = f"can show {change.could_show:.3f}" if change.could_show is not None else "too few items to show any"
        mark = "; warning" if change.warning is not None else ""
        lines.append(f"{name:<{wide}}  {shares} {apart:<26} {change.p:>8.4f}  {can}{mark}")
    return "\n".join(lines)


def _examples(run: Path, opened: Opened, limit: int) -> tuple[list[Example], list[Example]]:
    """Conversations that were trained, and that were not, from the files that the run read."""
    origins = orjson.loads((run / ORIGINS).read_bytes())
    trained = {(origins["files"][file], line) for file, line in origins["places"]}
    data = load_recipe(str(run / places.RECIPE)).recipe.data
    files = [data.train] if isinstance(data.train, str) else list(data.train)
    files += [name for name in (data.validation, data.test) if isinstance(name, str)]
    parts: tuple[list[Example], list[Example]] = ([], [])
    for file in files:
        for example in opened.read(file).examples:
            if isinstance(example, Example) and len(example.messages) > 1 and example.messages[-1].role == "assistant":
                known = (example.origin.file, example.origin.line) in trained
                parts[0 if known else 1].append(example)
    return parts[0][:limit], parts[1][:limit]


def _recited(opened: Opened, examples: Sequence[Example]) -> list[bool]:
    """Whether the answer comes word for word when half of what was asked last is asked."""
    asked = []
    for example in examples:
        *before, last = example.messages[:-1]
        asked.append([*before, replace(last, content=half(last.content))])
    longest = max(len(opened.encoder.tokenizer.encode(example.messages[-1].content)) for example in examples)
    answers = _answers(opened, asked, min(longest + 2, 256))
    return [a.strip() == e.messages[-1].content.strip() for a, e in zip(answers, examples, strict=True)]


def _refused(opened: Opened, asked: Sequence[str]) -> list[bool]:
    return [refuses(text) for text in _answers(opened, [[Message("user", text)] for text in asked], ANSWER_TOKENS)]


def _answers(opened: Opened, asked: Sequence[Sequence[Message]], tokens: int) -> list[str]:
    prompts = [opened.encoder.prompt(list(messages)) for messages in asked]
    settings = GenerationSettings(max_new_tokens=tokens)
    found = generate(opened.model, prompts, settings=settings, stop_ids=opened.encoder.stop_ids)
    return [opened.encoder.tokenizer.decode(answer.ids) for answer in found]


def _stereotyping(opened: Opened, task: Task, asked: Sequence[Asked]) -> list[bool]:
    network = opened.network(benchmark.longest(opened.encoder, task, asked))
    return [item.answer == item.reference for item in benchmark.items(network, opened.encoder, task, asked)]


def _report(run: Path, found: dict[str, Change]) -> None:
    """The run's report with what was found, its page and its cards anew."""
    report: dict[str, Any] = json.loads((run / places.REPORT).read_text(encoding="utf-8"))
    report["audit"] = {name: change.as_dict() for name, change in found.items()}
    durable.write_json(run / places.REPORT, report)
    write_pages(run, report)
