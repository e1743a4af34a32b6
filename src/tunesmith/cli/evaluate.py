"""`tunesmith evaluate`: the scores of a run or a model on labelled examples."""

from pathlib import Path
from typing import Annotated

import typer

from tunesmith.cli.printing import print_json

MOST_CLASSES = 30
"""Classes of a table that is printed; of more, the file is named."""


def evaluate(
    model: Annotated[str, typer.Argument(metavar="RUN|MODEL")],
    settings: Annotated[list[str] | None, typer.Argument(metavar="[key=value]...", show_default=False)] = None,
    data: Annotated[str | None, typer.Option(metavar="FILE", help="The examples to score on.")] = None,
    task: Annotated[
        list[str] | None, typer.Option(metavar="NAME", help="A benchmark, or a YAML file of one; may be given again.")
    ] = None,
    shots: Annotated[int | None, typer.Option(min=0, help="Solved questions before each one of a task.")] = None,
    metric: Annotated[list[str] | None, typer.Option(metavar="NAME", help="A metric; may be given again.")] = None,
    labels: Annotated[
        str | None,
        typer.Option(
            metavar="auto|FILE", help="Answer with the likeliest label: those of the references, or of a file."
        ),
    ] = None,
    limit: Annotated[int | None, typer.Option(min=1, help="Score only the first so many examples.")] = None,
    out: Annotated[Path | None, typer.Option(metavar="DIR", help="Where to keep the scores and every item.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON: {task: {metric: {value, low, …}}}.")] = False,
) -> None:
    """Score a run or a model on labelled examples or on benchmarks, with a 95 % interval for every score.

    Settings are those of generation (`max_new_tokens=64`); without any, answers are greedy, and as long as the
    references need.
    """
    from tunesmith.errors import UsageError
    from tunesmith.evaluation.classes import table_of
    from tunesmith.evaluation.metrics import table
    from tunesmith.generation.settings import GenerationSettings
    from tunesmith.recipe.overrides import read_group
    from tunesmith.run.evaluate import evaluate as evaluate_run
    from tunesmith.run.evaluate import evaluate_labels, evaluate_tasks

    if (data is None) == (not task):
        raise UsageError("evaluate needs either --data FILE or --task NAME.")
    chosen = read_group(GenerationSettings, settings) if settings else None
    names = tuple(metric or ())
    if labels is not None and (data is None or chosen is not None):
        raise UsageError("--labels goes with --data, and takes no settings of generation: nothing is written.")
    if data is not None and labels is not None:
        evaluation = evaluate_labels(model, data, labels, metrics=names, limit=limit, out=out)
    elif data is not None:
        evaluation = evaluate_run(model, data, metrics=names, limit=limit, out=out, settings=chosen)
    else:
        evaluation = evaluate_tasks(model, task or (), metrics=names, limit=limit, shots=shots, out=out)
    if as_json:
        print_json(evaluation.as_dict())
    else:
        print(table(evaluation.scores))
        for of_task in evaluation.classes.values():
            few = len(of_task) <= MOST_CLASSES
            print(
                "\n"
                + (table_of(of_task) if few else f"{len(of_task):,} classes: --out DIR keeps each one in classes.json")
            )
