"""`tunesmith profile`: where the time and the memory of a step go, as a table and a flame picture."""

import html
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from tunesmith.run.profile import Part, Profile

SHOWN = 20
SMALLEST = 0.002
"""A part below this share of the step is not drawn."""


def profile(
    source: Annotated[str, typer.Argument(metavar="RECIPE.yaml|DATA")],
    overrides: Annotated[list[str] | None, typer.Argument(metavar="[key=value]...", show_default=False)] = None,
    flame: Annotated[Path, typer.Option(metavar="FILE.html", help="Where the flame picture goes.")] = Path(
        "profile.html"
    ),
) -> None:
    """Show where the time and memory of a training step go; trains nothing, and writes only the picture."""
    from rich.console import Console
    from rich.table import Column, Table

    from tunesmith.recipe import load_recipe
    from tunesmith.run.profile import profile as measure

    found = measure(load_recipe(source, overrides or ()), say=lambda text: print(text, file=sys.stderr))
    flame.write_text(_page(found), encoding="utf-8")
    total = sum(part.own_seconds for part in found.operations)
    table = Table(Column("operation", overflow="fold"), "share", "seconds", "calls", "MiB allocated")
    for part in found.operations[:SHOWN]:
        share, size = f"{100 * part.own_seconds / total:.1f} %", f"{part.allocated / 2**20:,.0f}"
        table.add_row(part.name, share, f"{part.own_seconds:.3f}", f"{part.calls:,}", size)
    Console().print(table)
    print(_summary(found))
    print(f"flame picture: {flame}", file=sys.stderr)


def _summary(found: "Profile") -> str:
    m = found.measured
    return (
        f"{found.seconds:.2f} s a step: {m.tokens:,} tokens of the data, {m.computed_tokens:,} computed, "
        f"{m.supervised_tokens:,} supervised; {m.tokens / found.seconds:,.0f} tokens/s; "
        f"peak memory {found.peak_bytes / 2**30:.2f} GiB"
    )


def _page(found: "Profile") -> str:
    """A page of its own: every part as wide as its time, what it consists of below it."""
    return (
        '<!doctype html><html lang="en"><meta charset="utf-8"><title>Where a step goes</title><style>'
        "body{font:13px sans-serif;margin:1em}.p{box-sizing:border-box;min-width:0;overflow:hidden}"
        ".n{border:1px solid #fff;background:hsl(var(--h) 60% 80%);padding:1px 3px;white-space:nowrap;overflow:hidden;"
        "text-overflow:ellipsis;border-radius:3px}.r{display:flex}</style>"
        f"<h1>Where a step goes</h1><p>{html.escape(_summary(found))}. Point at a part to see its time.</p>"
        f"{_drawn(found.tree, found.tree.seconds)}</html>\n"
    )


def _drawn(part: "Part", whole: float) -> str:
    inside = [p for p in part.parts.values() if p.seconds >= SMALLEST * whole]
    inside.sort(key=lambda p: -p.seconds)
    told = f"{part.name}: {part.seconds:.3f} s, {100 * part.seconds / whole:.1f} %, {part.calls:,} calls"
    label, hue = html.escape(part.name), sum(map(ord, part.name)) % 360
    below = "".join(
        f'<div class="p" style="width:{100 * p.seconds / max(part.seconds, 1e-12):.3f}%">{_drawn(p, whole)}</div>'
        for p in inside
    )
    return f'<div class="n" style="--h:{hue}" title="{html.escape(told)}">{label}</div><div class="r">{below}</div>'
