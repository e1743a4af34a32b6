"""`tunesmith data`: what a model will see and learn of a file, what is wrong with it, and better files made of it."""

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tunesmith.cli import reshape
from tunesmith.cli.check import check
from tunesmith.cli.suspects import suspects
from tunesmith.cli.weights import weights_folder

if TYPE_CHECKING:
    from tunesmith.data.example import AnyExample
    from tunesmith.tokens.show import Shown

app = typer.Typer(
    help="Look at data as a model will, check them, and make better ones of them.",
    no_args_is_help=True,
    rich_markup_mode=None,
)

DEFAULT_MODEL = "smollm2-135m-instruct"


@app.callback()
def group() -> None:
    """Look at data as a model will, check them, and make better ones of them."""


app.command("check")(check)
app.command("suspects")(suspects)
reshape.add_to(app)


@app.command()
def findings() -> None:
    """Print the page of everything that a check can find, with an example and the remedy."""
    from tunesmith.tokens.findings import findings_page

    print(findings_page(), end="")


@app.command()
def show(
    file: Annotated[str, typer.Argument(metavar="FILE")],
    model: Annotated[str, typer.Option(metavar="RUN|MODEL", help="Whose tokens and template to use.")] = DEFAULT_MODEL,
    count: Annotated[int, typer.Option("-n", min=1, help="How many examples.")] = 3,
    template: Annotated[str | None, typer.Option(metavar="FILE|NAME", help="Another chat template.")] = None,
    window: Annotated[
        int, typer.Option(min=2, help="Tokens of a piece of plain text (a run takes the context).")
    ] = 512,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON, one example per line.")] = False,
    html: Annotated[Path | None, typer.Option(metavar="PAGE", help="Write a page instead, and print its path.")] = None,
) -> None:
    """Show examples as tokens: context, learned words, and the end token that closes them."""
    from tunesmith.errors import TemplateError
    from tunesmith.tokens.encode import Encoder
    from tunesmith.tokens.show import show as show_example
    from tunesmith.tokens.show import to_html
    from tunesmith.tokens.tokenizer import Tokenizer

    encoder = Encoder(Tokenizer.load(weights_folder(model)), chat_template=template)
    shown: list[Shown] = []
    refused: list[TemplateError] = []
    for example in _examples(file):
        try:
            shown += show_example(encoder, example, window=window)
        except TemplateError as error:
            refused.append(error)
        if max(len(shown), len(refused)) >= count:
            break
    if refused and not shown:
        raise refused[0]
    for refusal in refused:
        print(f"not shown: {refusal}", file=sys.stderr)
    shown = shown[:count]
    if html is not None:
        html.write_text(to_html(shown, title=f"{Path(file).name} as {Path(model).name} sees it"), encoding="utf-8")
        print(html)
    elif as_json:
        for one in shown:
            print(json.dumps({"origin": one.origin, **one.as_json()}, ensure_ascii=False))
    else:
        _print(shown)


def _examples(file: str) -> "Iterator[AnyExample]":
    """The examples of a file; what was found on the way is told on stderr."""
    from tunesmith.data.checks import Finding
    from tunesmith.data.reading import Balance, stream_examples

    for item in stream_examples(file, Balance()):
        if isinstance(item, Finding):
            print(item, file=sys.stderr)
        else:
            yield item


def _print(shown: "list[Shown]") -> None:
    from rich.console import Console

    from tunesmith.tokens.show import to_terminal

    console = Console(highlight=False, soft_wrap=True)
    for one in shown:
        console.print(to_terminal(one))
