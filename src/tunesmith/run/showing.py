"""Parts of a run's page: samples of base and tuned beside the reference, the confusion, an audit, the settings.

The decision: shown are the first questions of the validation set, never chosen ones; and a confusion is drawn only
where references are labels that come back, because only there it says something.
"""

import html
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import JsonValue

from tunesmith.evaluation.classes import confusion, excerpt
from tunesmith.evaluation.item import Item
from tunesmith.evaluation.metrics import guessed
from tunesmith.training import durable

SAMPLES = "samples.json"
SHOWN = 8
_SETTING = re.compile(r"(?P<indent> *)(?P<name>[\w-]+):(?: (?P<value>.*?))?(?:  # (?P<origin>.*))?")
MOST_LABELS = 40
"""Labels of a confusion that is drawn whole; of one with more, those are drawn that are confused most."""
EXCERPT = 20


def keep_samples(folder: Path, items: Sequence[Item]) -> None:
    """What the base answers to the first questions, before the first step; a resumed run keeps what there is."""
    if items and durable.read_sealed(folder / SAMPLES) is None:
        durable.write_sealed(folder / SAMPLES, [item.answer for item in items[:SHOWN]])


def answers(folder: Path, items: Sequence[Item]) -> dict[str, JsonValue]:
    """`samples` and, where references are labels, `confusion`, for the report; nothing where nothing was answered."""
    if not items or not any(item.answer for item in items):
        return {}
    base: Any = durable.read_sealed(folder / SAMPLES) or []
    found: dict[str, JsonValue] = {
        "samples": [
            {"prompt": item.prompt, "reference": item.reference, "base": before, "tuned": item.answer}
            for item, before in zip(items, base, strict=False)
        ]
    }
    (deciding, *_), _ = guessed([item.reference for item in items])
    names, table = confusion(items) if deciding.name == "accuracy" else ([], [])
    if len(names) > MOST_LABELS:
        labels, rows = excerpt(names, table, EXCERPT)
        found["confusion"] = {"labels": [*labels], "counts": [[*row] for row in rows], "of_labels": len(names)}
    elif len(names) > 1:
        found["confusion"] = {"labels": [*names], "counts": [[*row] for row in table]}
    return found


def sections(report: Mapping[str, Any]) -> Iterator[str]:
    """The parts of the page that show answers, and what an audit found."""
    if "audit" in report:
        yield _audit(report["audit"])
    if "confusion" in report:
        yield _confusion(report["confusion"])
    if report.get("samples"):
        yield (
            "<section><h2>The first validation questions</h2>" + "".join(map(_sample, report["samples"])) + "</section>"
        )


def settings(recipe: str) -> Iterator[str]:
    """The settings of a run with their origins, from the text of its resolved recipe: what was said or worked out as a
    table, everything below it."""
    if not recipe:
        return
    rows = "".join(
        f"<tr><td>{html.escape(name).replace('.', '.<wbr>')}</td>"
        f"<td>{html.escape(value)}</td><td>{html.escape(origin)}</td></tr>"
        for name, value, origin in _with_origins(recipe)
        if origin != "default"
    )
    yield (
        '<section><h2>Settings that are not defaults, and where they come from</h2><div class="wide">'
        '<table class="settings">'
        f"<tr><th>setting</th><th>value</th><th>origin</th></tr>{rows}</table></div>"
        f"<details><summary>Every setting</summary><pre>{html.escape(recipe)}</pre></details></section>"
    )


def _with_origins(recipe: str) -> Iterator[tuple[str, str, str]]:
    """Dotted name, value and origin of each line of a resolved recipe that ends with an origin."""
    groups: list[str] = []
    for line in recipe.splitlines():
        found = _SETTING.fullmatch(line)
        if found is None:
            continue
        depth = len(found["indent"]) // 2
        groups[depth:] = [found["name"]]
        if found["origin"]:
            yield ".".join(groups), found["value"], found["origin"]


def _sample(one: Mapping[str, str]) -> str:
    cells = "".join(
        f"<div><h3>{name}</h3><pre>{html.escape(one[name])}</pre></div>" for name in ("base", "tuned", "reference")
    )
    asked = html.escape(" ".join(one["prompt"].split())[-160:])
    prompt = html.escape(one["prompt"])
    return f'<details><summary>{asked}</summary><pre>{prompt}</pre><div class="side">{cells}</div></details>'


def _confusion(found: Mapping[str, Any]) -> str:
    labels, table, of = list(map(html.escape, found["labels"])), found["counts"], found.get("of_labels")
    names = [*labels, *(["another label"] if of else []), "none of them"]
    only = f"<p>An excerpt: the {len(labels)} of {of:,} labels that are confused most often.</p>" if of else ""
    most = max(max(row) for row in table) or 1
    head = "".join(f"<th><span>{name}</span></th>" for name in names)
    rows = "".join(
        f"<tr><th>{names[i]}</th>"
        + "".join(
            f'<td class="{"hit" if i == j else "miss"}" style="--share: {count / most:.2f}">{count or ""}</td>'
            for j, count in enumerate(row)
        )
        + "</tr>"
        for i, row in enumerate(table)
    )
    return (
        f"<section><h2>Confusion (row: the right label, column: the answer)</h2>{only}"
        f'<div class="wide"><table class="confusion"><tr><td></td>{head}</tr>{rows}</table></div></section>'
    )


def _audit(found: Mapping[str, Any]) -> str:
    rows = "".join(
        f"<tr><td>{html.escape(name.replace('_', ' '))}</td>"
        f"<td>{_share(one['before'])}</td><td>{_share(one['after'])}</td>"
        f"<td>{one['difference']:+.1%} [{one['low']:+.1%}, {one['high']:+.1%}]</td>"
        f"<td>{one['p']:.3f}</td><td>{_shown(one['could_show'])}</td><td>{html.escape(one['warning'] or '')}</td></tr>"
        for name, one in found.items()
    )
    return (
        '<section><h2>Beside the task (memorised: held out, then trained)</h2><div class="wide"><table>'
        f"<tr><th></th><th>before</th><th>after</th><th>difference</th><th>p (Holm)</th><th>can show</th>"
        f"<th>warning</th></tr>{rows}</table></div></section>"
    )


def _shown(difference: float | None) -> str:
    return "nothing: too few" if difference is None else f"{difference:.1%}"


def _share(score: Mapping[str, float]) -> str:
    return f"{score['value']:.1%} [{score['low']:.1%}, {score['high']:.1%}]"
