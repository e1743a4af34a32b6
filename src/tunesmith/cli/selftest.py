"""`tunesmith selftest`: what must hold, proven on the user's own model and data."""

import sys
from typing import Annotated

import typer

from tunesmith.cli.printing import print_json


def selftest(
    model: Annotated[str, typer.Argument(metavar="MODEL", help="A model's name or folder, or a full run.")],
    data: Annotated[str | None, typer.Option(metavar="FILE", help="Conversations to test with.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON, one proof a line.")] = False,
) -> None:
    """Prove on this model that training, saving and serving mean the same; exit code 1 where one proof fails."""
    from rich.console import Console
    from rich.table import Table

    from tunesmith.run.selftest import selftest as prove

    proofs = prove(model, data, say=lambda text: print(text, file=sys.stderr))
    if as_json:
        for p in proofs:
            told = {"name": p.name, "difference": p.difference, "tolerance": p.tolerance, "holds": p.holds}
            print_json(told, indent=False)
    else:
        table = Table("", "what must hold", "difference", "at most", "")
        for p in proofs:
            table.add_row("✓" if p.holds else "✗", p.name, f"{p.difference:.1e}", f"{p.tolerance:.0e}", p.detail)
        Console().print(table)
    if not all(p.holds for p in proofs):
        raise typer.Exit(1)
