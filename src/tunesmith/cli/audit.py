"""`tunesmith audit`: what a run changed beside its task."""

from pathlib import Path
from typing import Annotated

import typer

from tunesmith.cli.printing import print_json


def audit(
    run: Annotated[Path, typer.Argument(metavar="RUN")],
    limit: Annotated[int, typer.Option(min=1, help="Most examples and sentence pairs that are asked.")] = 100,
    crows: Annotated[
        bool, typer.Option("--crows", help="Compare stereotypes on CrowS-Pairs, where it is given.")
    ] = False,
    pairs: Annotated[
        list[str] | None,
        typer.Option(metavar="FILE", help="Stereotypes of a BBQ or WinoBias (pro_…) file; may be given again."),
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print JSON: {name: {before, after, p, warning, …}}.")
    ] = False,
) -> None:
    """Look for memorised answers, lost or new refusals, and stereotypes, before and after a run.

    What is worse than chance explains is a warning, here and in the run's report.
    """
    from tunesmith.evaluation.stereotypes import CROWS
    from tunesmith.run.audit import audit as run_audit
    from tunesmith.run.audit import table

    found = run_audit(run, limit=limit, stereotypes=[*([CROWS] if crows else []), *(pairs or ())])
    if as_json:
        print_json({name: change.as_dict() for name, change in found.items()})
        return
    print(table(found))
