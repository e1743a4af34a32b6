"""`tunesmith data`: what a model will see and learn of a file of examples."""

from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(help="Look at data as a model will.", no_args_is_help=True, rich_markup_mode=None)


@app.callback()
def group() -> None:
    """Keep `data` a group while it has one command."""


@app.command()
def show(
    file: Annotated[str, typer.Argument(metavar="FILE")],
    model: Annotated[str | None, typer.Option(metavar="MODEL", help="Whose tokens and template to use.")] = None,
    count: Annotated[int, typer.Option("-n", min=1, help="How many examples.")] = 3,
    template: Annotated[str | None, typer.Option(metavar="FILE", help="A chat template of your own.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON, one example per line.")] = False,
    html: Annotated[Path | None, typer.Option(metavar="PAGE", help="Write a page instead.")] = None,
) -> None:
    """Show examples as tokens: context, learned words, and the end token that closes them."""
    raise NotImplementedError
