"""`tunesmith data check`: what would happen if these data were trained on, told before a minute is spent.

The decision: the balance sheet comes first, because it says whether everything that was read would be learned from;
then each kind of finding with its first places, one message and what to do; then what the data look like.
"""

import json
import shlex
import sys
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from rich.table import Table

    from tunesmith.data.checks import Finding
    from tunesmith.run.check import Check

CANNOT_START = 3
PLACES = 3
COLOURS = {"stop": "bold red", "warn": "yellow", "note": "cyan"}
LEVELS = tuple(COLOURS)
COMMANDS = {
    "duplicate": "tunesmith data dedup {file} --out deduplicated.jsonl",
    "near-duplicate": "tunesmith data dedup {file} --near 0.8 --out deduplicated.jsonl",
    "leak": "tunesmith data dedup {file} --against {held_out} --out apart.jsonl",
    "near-leak": "tunesmith data dedup {file} --near 0.8 --against {held_out} --out apart.jsonl",
    "contamination": "tunesmith data dedup {file} --against {held_out} --out apart.jsonl",
    "imbalance": "tunesmith data balance {file} --out balanced.jsonl",
}
"""What answers a finding beside the fixes of `clean`."""


def check(
    files: Annotated[list[str], typer.Argument(metavar="FILE...|RECIPE.yaml [key=value]...")],
    model: Annotated[
        str | None, typer.Option(metavar="RUN|MODEL", help="Whose tokens, template and context to check with.")
    ] = None,
    against: Annotated[
        list[str] | None,
        typer.Option(
            metavar="FILE|NAME",
            help="Held-out data or a benchmark not to be trained on (mmlu, gsm8k …); may be given again.",
        ),
    ] = None,
    train_on: Annotated[
        str | None, typer.Option(metavar="WHOM", help="Whose words are learned: assistant, last_assistant or all.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
    html: Annotated[Path | None, typer.Option(metavar="PAGE", help="Write a page with pictures, too.")] = None,
    price: Annotated[
        float | None,
        typer.Option(metavar="DOLLARS", min=0, help="Of a million tokens, to tell what an epoch would cost."),
    ] = None,
    strict: Annotated[bool, typer.Option(help="Let warnings stop, too.")] = False,
) -> None:
    """Check data, or those of a recipe, as a run would meet them; exit code 3 where a run could not start.

    Settings are those of a recipe (`method.kind=full`).
    """
    from tunesmith.run.check import check as check_files

    settings = [word for word in files if "=" in word and not Path(word).exists()]
    names = [word for word in files if word not in settings]
    if not names:
        raise typer.BadParameter("name a file to check.")
    checked = check_files(
        names,
        model=model,
        against=tuple(against or ()),
        train_on=train_on,
        settings=settings,
        price=price,
        tell=_progress,
    )
    if sys.stderr.isatty():
        print("\r\033[K", end="", file=sys.stderr)
    if as_json:
        print(json.dumps(checked.as_dict(), ensure_ascii=False))
    else:
        _print(checked, strict=strict)
    if html is not None:
        from tunesmith.cli.check_page import page

        html.write_text(page(checked, against=tuple(against or ())), encoding="utf-8")
        print(f"page: {html}", file=sys.stderr)
    if not checked.could_start(strict=strict):
        raise typer.Exit(CANNOT_START)


def _progress(count: int) -> None:
    if sys.stderr.isatty():
        print(f"\r{count:,} examples", end="", file=sys.stderr, flush=True)


def _print(checked: "Check", *, strict: bool) -> None:
    from rich.console import Console

    console = Console(highlight=False)
    for part in (*_balance(checked, strict=strict), *_findings(checked), *_shape(checked)):
        console.print(part)


def _rows(rows: Iterable[tuple[str, str]]) -> "Table":
    from rich.table import Table
    from rich.text import Text

    table = Table.grid(padding=(0, 2))
    table.add_column(style="bold", no_wrap=True)
    table.add_column()
    for name, value in rows:
        table.add_row(name, Text(value))
    return table


def _balance(checked: "Check", *, strict: bool) -> Iterator[object]:
    yield f"[bold]{len(checked.files)} file{'s' * (len(checked.files) > 1)}[/], format {checked.format}"
    dropped = sum(checked.dropped.values())
    why = ", ".join(f"{name} {count:,}" for name, count in Counter(checked.dropped).most_common())
    yield _rows(
        [
            ("read", f"{checked.read:,} records"),
            ("usable", f"{checked.usable:,} ({checked.examples:,} examples)"),
            ("dropped", f"{dropped:,}{f': {why}' if why else ''}"),
        ]
    )
    if checked.could_start(strict=strict):
        yield "[green]A run could start.[/]\n"
    else:
        what = ", ".join(checked.stops) or "warnings (--strict)"
        yield f"[bold red]A run could not start:[/] {what}.\n"


def by_kind(findings: "Iterable[Finding]") -> "list[tuple[str, list[Finding]]]":
    """The findings of each kind, the loudest kinds first, within a level the most frequent."""
    kinds: defaultdict[str, list[Finding]] = defaultdict(list)
    for finding in findings:
        kinds[finding.name].append(finding)
    return sorted(kinds.items(), key=lambda kind: (LEVELS.index(kind[1][0].level), -len(kind[1]), kind[0]))


def _findings(checked: "Check") -> Iterator[object]:
    from rich.padding import Padding
    from rich.text import Text

    for name, found in by_kind(checked.findings):
        level = found[0].level
        yield f"[{COLOURS[level]}]{level}[/]  [bold]{name}[/]  {checked.totals[name]:,}"
        text = Text()
        for line in told(found[:PLACES]):
            text.append(f"{line}\n")
        if checked.totals[name] > PLACES:
            text.append(f"… and {checked.totals[name] - PLACES:,} more\n", style="dim")
        sentence, command = remedy(name, checked.files[0], found)
        text.append(f"→ {sentence}\n", style="green")
        if command is not None:
            text.append(f"  {command}\n", style="bold green")
        yield Padding(text, (0, 0, 0, 6))


def told(found: "Iterable[Finding]") -> list[str]:
    """A line for each message, behind all the places where it is true; a file is named once for its lines."""
    places: defaultdict[str, dict[str, list[str]]] = defaultdict(dict)
    for finding in found:
        lines = places[finding.message].setdefault(finding.file, [])
        lines += [] if finding.line is None else [str(finding.line)]
    named = ((message, [f"{file}:{', '.join(lines)}" if lines else file for file, lines in where.items()])
             for message, where in places.items())  # fmt: skip
    return [f"{', '.join(where)}: {message}" for message, where in named]


def remedy(name: str, file: str, found: "Iterable[Finding]" = ()) -> tuple[str, str | None]:
    """What to do about a kind of finding: a sentence, and a command where there is one.

    The command names the held-out files and benchmarks that something `found` gives away.
    """
    from tunesmith.data.benchmarks import benchmark_of
    from tunesmith.data.selection import FIXES
    from tunesmith.tokens.findings import KINDS

    kind = KINDS[name]
    if name in FIXES:
        return kind.remedy, f"tunesmith data clean {file} --fix {name} --out cleaned.jsonl"
    if name in COMMANDS:
        others = dict.fromkeys(f.other.file for f in found if f.other is not None and Path(f.other.file).is_file())
        held_out = dict.fromkeys(benchmark_of(other) or other for other in others) or ["HELD_OUT"]
        return kind.remedy, COMMANDS[name].format(
            file=shlex.quote(file), held_out=" --against ".join(map(shlex.quote, held_out))
        )
    if kind.setting == "data.minimum":
        return kind.remedy, f"tunesmith train {file} data.minimum=1"
    if kind.setting is not None:
        return f"{kind.remedy} Or go on without such records:", f"tunesmith train {file} {kind.setting}=drop"
    return kind.remedy, None


def facts(checked: "Check") -> list[tuple[str, str]]:
    """The shape of the data in words."""
    tokens, survey = checked.tokens, checked.survey
    if not tokens.total:
        return []
    borders, compared = checked.borders
    points = ", ".join(f"{name} {length:,}" for name, length in tokens.percentiles.items())
    learned = _share(tokens.supervised, tokens.total)
    saved = _share(tokens.total - tokens.computed_per_epoch, tokens.total)
    rows = [
        ("tokens", f"{tokens.total:,}, of which {tokens.supervised:,} ({learned}) learned"),
        ("computed", f"{tokens.computed_per_epoch:,} an epoch with batches of {checked.batch_size}: "
                     f"{saved} saved by shared beginnings"),
        ("lengths", f"{points} tokens"),
        ("languages", ", ".join(f"{name} {count:,}" for name, count in survey.languages.most_common(5))),
    ]  # fmt: skip
    if survey.prompt_openings:
        rows.append(("prompts", _openings(survey.prompt_openings, survey.examples)))
    if survey.classes:
        (most, many), (least, few) = survey.classes.most_common()[0], survey.classes.most_common()[-1]
        rows.append(("classes", f"{len(survey.classes):,}, from {most!r} {many:,} to {least!r} {few:,}"))
    elif survey.openings:
        rows.append(("answers", _openings(survey.openings, survey.answers)))
    if survey.refusals:
        rows.append(("refusals", f"{survey.refusals:,} of {survey.answers:,} answers"))
    if survey.personal:
        kinds = ", ".join(f"{kind} {count:,}" for kind, count in survey.personal.most_common())
        rows.append(("personal", f"{kinds} (examples that seem to hold such data)"))
    if borders:
        rows.append(("borders", f"{borders:,} of {compared:,} compared would be other tokens in one piece"))
    cost = checked.estimate
    seconds, peak = cost.seconds_per_epoch, cost.peak_bytes / 2**30
    rows.append(("cost", f"about {duration(seconds)} an epoch and {peak:.1f} GiB ({checked.method}, {checked.model})"))
    if cost.dollars_per_epoch is not None:
        rows.append(("price", f"${cost.dollars_per_epoch:,.2f} an epoch"))
    return rows


def _openings(openings: "Counter[str]", of: int) -> str:
    words, times = openings.most_common(1)[0]
    often = f"; {times:,} begin {words!r}" if times * 20 > of else ""
    return f"{of:,}, with {len(openings):,} different openings{often}"


def _share(part: int, whole: int) -> str:
    return f"{100 * part / whole:.1f} %"


def duration(seconds: float) -> str:
    """A length of time in the unit that suits it."""
    for unit, size in (("h", 3600), ("min", 60)):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds:.0f} s"


def _shape(checked: "Check") -> Iterator[object]:
    yield _rows(facts(checked))
