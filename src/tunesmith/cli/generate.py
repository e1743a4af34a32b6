"""`tunesmith generate`: one answer for each example of a file, in its order."""

from pathlib import Path
from typing import Annotated

import typer


def generate(
    model: Annotated[str, typer.Argument(metavar="RUN|MODEL")],
    data: Annotated[str, typer.Option(metavar="FILE", help="The examples to answer.")],
    out: Annotated[Path, typer.Option(metavar="FILE", help="Where the answers go, one JSON object per line.")],
    settings: Annotated[list[str] | None, typer.Argument(metavar="[key=value]...", show_default=False)] = None,
    limit: Annotated[int | None, typer.Option(min=1, help="Answer only the first so many examples.")] = None,
) -> None:
    """Answer every example of a file, batched, in file order; prints the path of the answers.

    Settings are those of generation: `max_new_tokens=64`, `temperature=0.7`, `top_p=0.9`, `seed=1`.
    """
    from tunesmith.generation.settings import GenerationSettings
    from tunesmith.recipe.overrides import read_group
    from tunesmith.run.generate import generate as generate_run

    generate_run(model, data, out, settings=read_group(GenerationSettings, settings or ()), limit=limit)
    print(out)
