"""`tunesmith retain`: a small study of the ways to keep what the base model can."""

from pathlib import Path
from typing import Annotated

import typer

from tunesmith.cli.printing import print_json


def retain(
    recipe: Annotated[str, typer.Argument(metavar="RECIPE", help="A recipe, or a data file.")],
    settings: Annotated[list[str] | None, typer.Argument(metavar="[key=value]...", show_default=False)] = None,
    way: Annotated[list[str] | None, typer.Option(metavar="NAME", help="A way to try; may be given again.")] = None,
    out: Annotated[Path, typer.Option(metavar="DIR", help="Where the runs and the picture go.")] = Path("runs/retain"),
    as_json: Annotated[
        bool, typer.Option("--json", help="Print JSON: {metric, recommended, level, alike, because, points, …}.")
    ] = False,
) -> None:
    """Train a recipe in several ways that keep what the base model can, and recommend one.

    Each way is a run of its own below DIR; the study goes on where it was interrupted. What was gained is drawn
    against what was lost in DIR/retain.html.
    """
    from tunesmith.run.retain import PAGE
    from tunesmith.run.retain import retain as study
    from tunesmith.run.retain_page import table

    found = study(recipe, tuple(settings or ()), out=out, ways=tuple(way or ()))
    if as_json:
        print_json(found.as_dict())
        return
    print(table(found))
    print(f"picture: {out / PAGE}")
