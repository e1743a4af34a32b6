"""`tunesmith compare`: whether one model is better than another, by more than chance."""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tunesmith.cli.printing import print_json

if TYPE_CHECKING:
    from tunesmith.evaluation.compare import Comparison
    from tunesmith.evaluation.votes import Tally
    from tunesmith.run.compare import Asking


def compare(
    models: Annotated[
        list[str],
        typer.Argument(
            metavar="A B [C]... [key=value]...",
            help="Runs, models, endpoints (URL#MODEL), or evaluations kept by --out; settings for --data.",
        ),
    ],
    data: Annotated[str | None, typer.Option(metavar="FILE", help="The examples that they answer.")] = None,
    task: Annotated[
        list[str] | None, typer.Option(metavar="NAME", help="A benchmark that they answer; may be given again.")
    ] = None,
    metric: Annotated[list[str] | None, typer.Option(metavar="NAME", help="A metric; may be given again.")] = None,
    limit: Annotated[int | None, typer.Option(min=1, help="Compare on the first so many examples.")] = None,
    shots: Annotated[int | None, typer.Option(min=0, help="Solved questions before each one of a task.")] = None,
    out: Annotated[Path | None, typer.Option(metavar="DIR", help="Where to keep what each of them answered.")] = None,
    html: Annotated[Path | None, typer.Option(metavar="FILE", help="Write a page with every item won or lost.")] = None,
    blind: Annotated[
        bool, typer.Option("--blind", help="Let people vote on A and B in a page of this machine.")
    ] = False,
    votes: Annotated[Path, typer.Option(metavar="FILE", help="Where the votes of --blind are kept.")] = Path(
        "votes.jsonl"
    ),
    port: Annotated[int, typer.Option(min=0, max=65535, help="The port of that page; 0 takes a free one.")] = 0,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON, one metric of one pair a line.")] = False,
) -> None:
    """Compare models on the same examples: the difference, its 95 % interval, and whether chance explains it.

    With several candidates each is compared with A; every p is corrected for all candidates, tasks and metrics. An
    endpoint answers --data and benchmarks whose answers are written (gsm8k, ifeval, bbh), with as many tokens as the
    others. Settings (`max_new_tokens=64`) are those of generation.
    """
    from tunesmith.errors import UsageError
    from tunesmith.generation.settings import GenerationSettings
    from tunesmith.recipe.overrides import read_group
    from tunesmith.run.compare import Asking, compare_models
    from tunesmith.run.compare_page import write_page
    from tunesmith.run.opened import to_stderr

    words = [word for word in models if re.match(r"[a-z_]+=", word)]
    names = [name for name in models if name not in words]
    if words and data is None:
        raise UsageError(
            f"{words[0]}: settings go with --data FILE; a benchmark says itself how its answers are written."
        )
    if shots is not None and not task:
        raise UsageError("--shots goes with --task NAME.")
    chosen = read_group(GenerationSettings, words) if words else None
    asking = Asking(tuple(metric or ()), limit, shots, chosen)
    if blind:
        if len(names) != 2 or len(task or ()) + (data is not None) > 1:
            raise UsageError("--blind is between two, A and B, on one thing: --data FILE, or one --task NAME.")
        print(_voted((names[0], names[1]), data, task[0] if task else None, asking, votes, port))
        return
    found = compare_models(names, data, tasks=task or (), asking=asking, out=out)
    _print(names, found.comparisons, as_json)
    if html is not None:
        write_page(html, found)
        to_stderr(f"page: {html}")


def _voted(
    names: tuple[str, str], data: str | None, task: str | None, asking: "Asking", votes: Path, port: int
) -> "Tally":
    """What people voted, once they have."""
    from tunesmith.evaluation.votes import Contest
    from tunesmith.run.blind import Ballot, serve
    from tunesmith.run.compare import answers_of, written_answers
    from tunesmith.run.opened import to_stderr

    left, right = written_answers(names, task, asking=asking) if task else answers_of(names, data, asking=asking)
    return serve(Ballot(Contest(names, left, right), votes), port=port, tell=to_stderr)


def _print(names: Sequence[str], found: Mapping[str, Sequence[Sequence["Comparison"]]], as_json: bool) -> None:
    from tunesmith.evaluation.compare import table

    for task, each in found.items():
        if not as_json and len(found) > 1:
            print(f"\n{task}")
        for name, comparisons in zip(names[1:], each, strict=True):
            said = {"task": task, "against": names[0], "model": name}
            if as_json:
                for one in comparisons:
                    print_json({**said, **one.as_dict()}, indent=False)
            else:
                print(table(comparisons, (names[0], name)))
