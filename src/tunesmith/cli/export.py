"""`tunesmith export`: the trained model as a folder that other tools load."""

from pathlib import Path
from typing import Annotated

import typer


def export(
    run: Annotated[Path, typer.Argument(metavar="RUN")],
    to: Annotated[Path, typer.Option(metavar="DIR", help="The folder to write; it must not exist yet.")],
    merge: Annotated[bool, typer.Option(help="Fold the adapter into the model's own weights.")] = False,
) -> None:
    """Write the trained model of a run to a folder; prints the folder."""
    from tunesmith.run.export import export as export_run

    export_run(run, to, merge=merge)
    print(to)
