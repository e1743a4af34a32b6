"""The page of a comparison: the table, and the items that one side won or lost, to be read side by side.

The decision: losses stand first, because they are what one has to look at before one believes a difference; items on
which neither side is better are only counted.
"""

import html
from collections.abc import Sequence
from pathlib import Path

from tunesmith.evaluation.compare import Comparison, finding
from tunesmith.evaluation.item import Item
from tunesmith.evaluation.metrics import METRICS, item_scores
from tunesmith.run.compare import Compared
from tunesmith.run.page import OPENING

SHOWN = 200
"""Items of each kind that stand on the page, at most."""


def write_page(path: Path, compared: Compared) -> None:
    """The page of the first model against each of the others, task by task, in one file that needs no other."""
    names = compared.names
    parts = [
        _pair((names[0], name), task if len(compared.answered) > 1 else "", (sides[0], items), comparisons)
        for task, sides in compared.answered.items()
        for name, items, comparisons in zip(names[1:], sides[1:], compared.comparisons[task], strict=True)
    ]
    title = html.escape(f"{names[0]} against {', '.join(names[1:])}")
    path.write_text(_PAGE.format(title=title, body="\n".join(parts)), encoding="utf-8")


def _pair(
    names: tuple[str, str], task: str, items: tuple[Sequence[Item], Sequence[Item]], found: Sequence[Comparison]
) -> str:
    left, right = map(html.escape, names)
    on = f" on {html.escape(task)}" if task else ""
    rows = "".join(
        f"<tr><td>{c.metric}</td><td>{c.left:.4f}</td><td>{c.right:.4f}</td>"
        f"<td>{c.difference:+.4f} [{c.low:+.4f}, {c.high:+.4f}]</td>"
        f"<td>{c.p:.4f}</td><td>{html.escape(finding(c, names))}</td></tr>"
        for c in found
    )
    table = (
        f"<section><h2>{left} against {right}{on}</h2><table><tr><th>metric</th><th>{left}</th><th>{right}</th>"
        f"<th>difference [95 %]</th><th>p (Holm)</th><th>finding</th></tr>{rows}</table></section>"
    )
    deciding = next((METRICS[c.metric] for c in found if METRICS[c.metric].kind != "counts"), None)
    if deciding is None:
        return table
    sign = 1 if deciding.higher_is_better else -1
    scores = [[one[deciding.name] for one in item_scores([deciding], side)] for side in items]
    change = [sign * (b - a) for a, b in zip(*scores, strict=True)]
    told = [
        _listed(f"{right} lost", names, items, [i for i, c in enumerate(change) if c < 0], "lost"),
        _listed(f"{right} won", names, items, [i for i, c in enumerate(change) if c > 0], "won"),
    ]
    same = sum(c == 0 for c in change)
    return table + "".join(told) + f"<p>{same:,} items score the same by {deciding.name}.</p>"


def _listed(
    title: str,
    names: tuple[str, str],
    items: tuple[Sequence[Item], Sequence[Item]],
    places: Sequence[int],
    kind: str,
) -> str:
    more = f" (the first {SHOWN})" if len(places) > SHOWN else ""
    parts = [f'<section class="{kind}"><h2>{title}: {len(places):,}{more}</h2>']
    for place in places[:SHOWN]:
        a, b = items[0][place], items[1][place]
        cells = ((names[0], a.answer), (names[1], b.answer), ("reference", a.reference))
        columns = "".join(
            f"<div><h3>{html.escape(name)}</h3><pre>{html.escape(text)}</pre></div>" for name, text in cells
        )
        parts.append(
            f"<details><summary>{place}: {html.escape(' '.join(a.prompt.split())[-140:])}</summary>"
            f'<pre>{html.escape(a.prompt)}</pre><div class="side">{columns}</div></details>'
        )
    return "".join(parts) + "</section>"


_PAGE = (
    OPENING
    + """
body {{ margin: 0 auto; max-width: 70rem; padding: 1rem; font: 16px/1.5 system-ui, sans-serif; color: var(--ink);
  background: var(--back) }}
h1 {{ font-size: 1.3rem; overflow-wrap: anywhere }} h2 {{ font-size: 1rem }} h3 {{ font-size: .85rem; margin: .3rem 0;
  color: var(--soft); overflow-wrap: anywhere }}
section {{ background: var(--card); border-radius: .5rem; padding: 1rem; margin: 1rem 0; overflow-x: auto }}
.lost h2 {{ color: var(--b) }} .won h2 {{ color: var(--a) }}
table {{ border-collapse: collapse }} td {{ white-space: nowrap }}
td:last-child {{ white-space: normal; min-width: 14rem }}
td, th {{ text-align: left; padding: .2rem .8rem .2rem 0 }}
summary {{ cursor: pointer; overflow-wrap: anywhere }} p {{ color: var(--soft) }}
pre {{ white-space: pre-wrap; overflow-wrap: anywhere; font: inherit; margin: 0 }}
.side {{ display: grid; grid-template-columns: repeat(3, 1fr); gap: 1rem; margin: .5rem 0 1rem }}
@media (max-width: 44rem) {{ .side {{ grid-template-columns: 1fr }} }}
</style></head><body><h1>{title}</h1>
{body}
</body></html>
"""
)
