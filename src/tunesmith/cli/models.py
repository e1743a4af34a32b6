"""`tunesmith models`: which base models there are, where they lie, and what is in a folder."""

import json
from typing import Annotated

import typer

from tunesmith.cli.weights import weights_folder

app = typer.Typer(help="List, fetch and describe models.", no_args_is_help=True, rich_markup_mode=None)


@app.command("list")
def list_models() -> None:
    """Print the models that can be used by name, and where those lie that are here."""
    from tunesmith.models.sources import known

    for model in known():
        print(f"{model.name}\t{model.folder or 'not fetched yet'}\t{model.about}")


@app.command()
def pull(
    name: Annotated[str, typer.Argument(metavar="NAME", help="A short name, a hub name, a folder or a GGUF file.")],
) -> None:
    """Fetch a model once; the last line of the output is its local folder."""
    from tunesmith.models.sources import pull as pull_model

    print(pull_model(name).folder)


@app.command()
def show(
    path: Annotated[str, typer.Argument(metavar="PATH", help="A run, a model folder or a model's name.")],
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Describe a model: architecture, size, tokenizer, checksum of the weights."""
    from tunesmith.models.folder import describe

    facts = describe(weights_folder(path))
    if as_json:
        print(json.dumps(facts, ensure_ascii=False, indent=2))
        return
    width = max(map(len, facts))
    for name, value in facts.items():
        print(f"{name.replace('_', ' '):<{width}}  {value}")
