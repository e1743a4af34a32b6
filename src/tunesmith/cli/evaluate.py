"""`tunesmith evaluate`: the scores of a run or a model on labelled examples."""

import json
from typing import Annotated

import typer


def evaluate(
    model: Annotated[str, typer.Argument(metavar="RUN|MODEL")],
    data: Annotated[str, typer.Option(metavar="FILE", help="The examples to score on.")],
    metric: Annotated[list[str] | None, typer.Option(metavar="NAME", help="A metric; may be given again.")] = None,
    limit: Annotated[int | None, typer.Option(min=1, help="Score only the first so many examples.")] = None,
) -> None:
    """Score a run or a model on labelled examples; prints JSON."""
    from tunesmith.run.evaluate import evaluate as evaluate_run

    evaluation = evaluate_run(model, data, metrics=tuple(metric or ()), limit=limit)
    print(json.dumps(evaluation.as_dict(), ensure_ascii=False, indent=2))
