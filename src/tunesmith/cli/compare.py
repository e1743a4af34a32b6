"""`tunesmith compare`: whether one model is better than another, by more than chance."""

import json
from pathlib import Path
from typing import Annotated

import typer


def compare(
    models: Annotated[
        list[str],
        typer.Argument(metavar="A B [C]...", help="Runs, models, endpoints (URL#MODEL), or evaluations kept by --out."),
    ],
    data: Annotated[str | None, typer.Option(metavar="FILE", help="The examples that they answer.")] = None,
    task: Annotated[
        list[str] | None, typer.Option(metavar="NAME", help="A benchmark that they answer; may be given again.")
    ] = None,
    metric: Annotated[list[str] | None, typer.Option(metavar="NAME", help="A metric; may be given again.")] = None,
    limit: Annotated[int | None, typer.Option(min=1, help="Compare on the first so many examples.")] = None,
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

    With several candidates each is compared with A; every p is corrected for all candidates, tasks and metrics.
    """
    from tunesmith.errors import UsageError
    from tunesmith.evaluation.compare import table
    from tunesmith.evaluation.votes import Contest
    from tunesmith.run.blind import Ballot, serve
    from tunesmith.run.compare import answers_of, compare_models
    from tunesmith.run.compare_page import write_page
    from tunesmith.run.opened import to_stderr

    if blind:
        if len(models) != 2:
            raise UsageError("--blind is between two: A and B.")
        if task:
            raise UsageError("--blind shows what was written, and a benchmark's options are only scored. Give --data.")
        left, right = answers_of(models, data, metrics=tuple(metric or ()), limit=limit, say=to_stderr)
        print(serve(Ballot(Contest((models[0], models[1]), left, right), votes), port=port, tell=to_stderr))
        return
    found = compare_models(models, data, tasks=task or (), metrics=tuple(metric or ()), limit=limit)
    for of_task, each in found.comparisons.items():
        if not as_json and len(found.comparisons) > 1:
            print(f"\n{of_task}")
        for name, comparisons in zip(models[1:], each, strict=True):
            said = {"task": of_task, "against": models[0], "model": name}
            if as_json:
                print("\n".join(json.dumps({**said, **one.as_dict()}, ensure_ascii=False) for one in comparisons))
            else:
                print(table(comparisons, (models[0], name)))
    if html is not None:
        write_page(html, found)
        to_stderr(f"page: {html}")
