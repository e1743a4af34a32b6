"""`tunesmith data suspects RUN`: the examples to look at again, because the run found them hard."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tunesmith.cli.printing import print_json

if TYPE_CHECKING:
    from tunesmith.run.suspects import Suspect

LONGEST = 60


def suspects(
    run: Annotated[Path, typer.Argument(metavar="RUN")],
    count: Annotated[int, typer.Option("-n", min=1, help="How many of each kind.")] = 20,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """List the training examples with the highest loss, and those whose loss never fell: they may be mislabelled."""
    from tunesmith.run.suspects import suspects as find_suspects

    found = find_suspects(run, most=count)
    if as_json:
        print_json(found.as_dict(), indent=False)
        return
    epochs = f"{found.epochs} epoch{'s' * (found.epochs != 1)}"
    print(f"{found.examples:,} examples, {epochs}\n\nhighest loss")
    _table(found.highest)
    if found.epochs < 2:
        print("\nWhich losses never fell will show in a second epoch.")
        return
    print(f"\nnever below the first loss: {found.rose:,}")
    _table(found.never_fell)


def _table(suspects: "tuple[Suspect, ...]") -> None:
    for one in suspects:
        losses = " → ".join("·" if loss is None else f"{loss:.2f}" for loss in one.losses)
        print(f"  {one.file}:{one.line}  {losses}  {_short(one.prompt)} ⇒ {_short(one.answer)}")


def _short(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= LONGEST else f"{line[: LONGEST - 1]}…"
