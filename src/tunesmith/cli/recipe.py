"""`tunesmith recipe`: what a recipe means, whether it can run, what may stand in it, and how others' are translated."""

import json
import sys
from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(help="Show, check and translate recipes.", no_args_is_help=True, rich_markup_mode=None)

Source = Annotated[str | None, typer.Argument(metavar="[RECIPE.yaml|DATA]", show_default=False)]
Overrides = Annotated[list[str] | None, typer.Argument(metavar="[key=value]...", show_default=False)]


@app.command()
def show(source: Source = None, overrides: Overrides = None) -> None:
    """Print the effective settings as a recipe, each with its origin."""
    from tunesmith.recipe import load_recipe
    from tunesmith.recipe.writing import dump

    loaded = load_recipe(source, overrides or ())
    print(dump(loaded.recipe, {name: str(origin) for name, origin in loaded.origins.items()}), end="")


@app.command()
def check(source: Source = None, overrides: Overrides = None) -> None:
    """Say whether the settings can be used, and whether the files that they name exist."""
    from tunesmith.data.files import find_files
    from tunesmith.recipe import load_recipe
    from tunesmith.recipe.paths import data_files

    for name in data_files(load_recipe(source, overrides or ()).recipe):
        find_files(name)
    print("The recipe is valid.", file=sys.stderr)


@app.command()
def schema(
    markdown: Annotated[bool, typer.Option(help="Print the reference page instead of JSON Schema.")] = False,
) -> None:
    """Print the JSON Schema of recipes, for editors."""
    from tunesmith.recipe.reference import json_schema, reference_page

    print(reference_page() if markdown else json.dumps(json_schema(), ensure_ascii=False, indent=2), end="")
    if not markdown:
        print()


@app.command("import")
def import_configuration(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A TRL, Axolotl or LLaMA-Factory configuration.")],
) -> None:
    """Translate another tool's configuration; prints the recipe, and on stderr what could not be translated."""
    from tunesmith.recipe.importing import import_recipe

    text, notes = import_recipe(file)
    print(text, end="")
    for note in notes:
        print(note, file=sys.stderr)
