"""`tunesmith generate`: one answer for each example of a file, in its order."""

from pathlib import Path
from typing import Annotated

import typer


def generate(
    model: Annotated[str, typer.Argument(metavar="RUN|MODEL")],
    data: Annotated[str, typer.Option(metavar="FILE", help="The examples to answer.")],
    out: Annotated[Path, typer.Option(metavar="FILE", help="Where the answers go, one JSON object per line.")],
) -> None:
    """Answer every example of a file, batched, in file order; prints the path of the answers."""
    from tunesmith.run.generate import generate as generate_run

    generate_run(model, data, out)
    print(out)
