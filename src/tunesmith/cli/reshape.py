"""`tunesmith data convert | split | dedup | sample | mix | balance | clean`: another file made of one's data.

The decision: every command names its output, and nothing that exists is overwritten; the paths written are the output,
what was left out or changed is said on stderr and stands in the report beside it.
"""

import sys
from collections import Counter
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from tunesmith.run.reshape import Reshaped

File = Annotated[str, typer.Argument(metavar="FILE")]
Out = Annotated[Path, typer.Option(metavar="FILE", help="Where to write; must not exist.")]
Drop = Annotated[bool, typer.Option("--drop", help="Go on without records that cannot be used.")]
Seed = Annotated[int, typer.Option(help="What chance is derived from.")]


class Way(StrEnum):
    """How a sample is drawn."""

    lot = "lot"
    balanced = "balanced"
    diverse = "diverse"


class Side(StrEnum):
    """How classes become equal."""

    over = "over"
    under = "under"


def add_to(app: typer.Typer) -> None:
    """Add the commands to the group."""
    for command in (convert, split, dedup, sample, mix, balance, clean):
        app.command()(command)


def convert(
    file: File,
    out: Out,
    to: Annotated[
        str,
        typer.Option(
            metavar="FORM", help="messages, openai, azure, prompt_completion, alpaca, sharegpt, vertex or sagemaker."
        ),
    ],
    drop: Drop = False,
) -> None:
    """Write the examples in another form; what the form cannot say is left out and told."""
    from tunesmith.run.reshape import Order, convert_file

    _say(convert_file(Order("convert", out, drop), file, to))


def split(
    file: File,
    out: Annotated[Path, typer.Option(metavar="DIR", help="A new folder for train, validation and test.")],
    validation: Annotated[float, typer.Option(min=0, max=1, help="The share for choosing.")] = 0.05,
    test: Annotated[float, typer.Option(min=0, max=1, help="The share for reporting.")] = 0.05,
    stratified: Annotated[bool, typer.Option(help="Give each part its share of every class.")] = False,
    by: Annotated[str | None, typer.Option(metavar="FIELD", help="Keep equal values of a field together.")] = None,
    drop: Drop = False,
) -> None:
    """Split into train, validation and test by content, never the same prompt on two sides."""
    from tunesmith.run.reshape import Order, split_file

    order = Order("split", out, drop)
    _say(split_file(order, file, validation=validation, test=test, stratified=stratified, by=by))


def dedup(
    file: File,
    out: Out,
    near: Annotated[float | None, typer.Option(min=0.5, max=1, help="Leave out what is so alike, too (0.8).")] = None,
    against: Annotated[
        list[str] | None,
        typer.Option(metavar="FILE|NAME", help="Leave out what gives away these held-out data or this benchmark, too."),
    ] = None,
    drop: Drop = False,
) -> None:
    """Leave out what stands twice, and what must not be trained because a model is measured by it."""
    from tunesmith.run.reshape import Order, dedup_file

    _say(dedup_file(Order("dedup", out, drop), file, near=near, against=tuple(against or ())))


def sample(
    file: File,
    out: Out,
    count: Annotated[int, typer.Option("-n", "--count", min=1, help="How many examples.")],
    how: Annotated[Way, typer.Option(help="By lot, even over the classes, or far from each other.")] = Way.lot,
    seed: Seed = 0,
    drop: Drop = False,
) -> None:
    """Draw a smaller set; a larger sample with the same seed contains the smaller one."""
    from tunesmith.run.reshape import Order, sample_file

    _say(sample_file(Order("sample", out, drop, seed), file, count, how.value))


def mix(
    files: Annotated[list[str], typer.Argument(metavar="FILE...")],
    out: Out,
    weight: Annotated[
        list[float] | None, typer.Option(min=0, help="The share of a file, once for each, in their order.")
    ] = None,
    temperature: Annotated[float, typer.Option(help="Without weights: 1 is by size, larger is more even.")] = 1.0,
    count: Annotated[int | None, typer.Option("-n", "--count", min=1, help="How many examples; default: all.")] = None,
    seed: Seed = 0,
    drop: Drop = False,
) -> None:
    """Mix several files, their shares kept at every point (replay: a small weight on what is to be remembered)."""
    from tunesmith.run.reshape import Order, mix_files

    order = Order("mix", out, drop, seed)
    _say(mix_files(order, files, weights=weight or None, temperature=temperature, count=count))


def balance(
    file: File,
    out: Out,
    how: Annotated[Side, typer.Option(help="Repeat rare classes, or leave out of frequent ones.")] = Side.over,
    seed: Seed = 0,
    drop: Drop = False,
) -> None:
    """Make classes equally frequent."""
    from tunesmith.run.reshape import Order, balance_file

    _say(balance_file(Order("balance", out, drop, seed), file, how.value))


def clean(
    file: File,
    out: Out,
    fix: Annotated[list[str], typer.Option(metavar="FINDING", help="What to mend; may be given again.")],
    drop: Drop = False,
) -> None:
    """Mend what a check found: answer-whitespace, carriage-return, nul-character, refusal."""
    from tunesmith.run.reshape import Order, clean_file

    _say(clean_file(Order("clean", out, drop), file, fix))


def _say(done: "Reshaped") -> None:
    for path, count in done.written.items():
        print(f"{path}\t{count}")
    for name, count in Counter(finding.name for finding in done.findings).items():
        first = next(finding for finding in done.findings if finding.name == name)
        print(f"{name} {count:,}, first {first}", file=sys.stderr)
    print(f"report: {done.report}", file=sys.stderr)
