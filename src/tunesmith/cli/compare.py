"""`tunesmith compare`: whether one model is better than another, by more than chance."""

import json
from typing import Annotated

import typer


def compare(
    models: Annotated[
        list[str], typer.Argument(metavar="A B [C]...", help="Runs, models, or evaluations kept by --out.")
    ],
    data: Annotated[str | None, typer.Option(metavar="FILE", help="The examples that they answer.")] = None,
    metric: Annotated[list[str] | None, typer.Option(metavar="NAME", help="A metric; may be given again.")] = None,
    limit: Annotated[int | None, typer.Option(min=1, help="Compare on the first so many examples.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON, one metric of one pair a line.")] = False,
) -> None:
    """Compare models on the same examples: the difference, its 95 % interval, and whether chance explains it."""
    from tunesmith.evaluation.compare import table
    from tunesmith.run.compare import compare_models

    for pair in compare_models(models, data, metrics=tuple(metric or ()), limit=limit):
        if as_json:
            for one in pair.comparisons:
                print(json.dumps({"against": pair.left, "model": pair.right, **one.as_dict()}, ensure_ascii=False))
            continue
        print(table(pair.comparisons, (pair.left, pair.right)))
