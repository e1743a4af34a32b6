"""`tunesmith train`: from a recipe or a data file to a run folder, or on from where a run stopped."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from tunesmith.errors import UsageError

AUTO = "auto"


def train(
    source: Annotated[str | None, typer.Argument(metavar="[RECIPE.yaml|DATA]", show_default=False)] = None,
    overrides: Annotated[list[str] | None, typer.Argument(metavar="[key=value]...", show_default=False)] = None,
    resume: Annotated[
        str | None,
        typer.Option(metavar="RUN|auto", help="Continue a run folder; auto: continue when there is one, else start."),
    ] = None,
    accept: Annotated[
        list[str] | None, typer.Option(metavar="NAME", help="A difference to the interrupted run that is wanted.")
    ] = None,
) -> None:
    """Train a model; prints the run folder.

    The shortest form is `tunesmith train examples.jsonl`. Every setting is reached by key=value
    (`training.epochs=3`); `tunesmith recipe schema` lists them.
    """
    if resume is not None and resume != AUTO:
        longer = [*([source] if source is not None else []), *(overrides or ())]
        if any("=" not in word for word in longer):
            raise UsageError("--resume RUN continues with the run's own recipe. Leave the recipe out.")
        from tunesmith.run.train import resume as resume_run

        print(resume_run(Path(resume), accept or (), longer=longer).folder)
        return
    if source is None:
        raise UsageError("nothing to train on. Name a recipe or a data file: `tunesmith train examples.jsonl`.")
    from tunesmith.recipe import load_recipe
    from tunesmith.run.train import train as train_run

    again: Literal["auto", "never"] = "auto" if resume else "never"
    print(train_run(load_recipe(source, overrides or ()), resume=again, accept=accept or ()).folder)
