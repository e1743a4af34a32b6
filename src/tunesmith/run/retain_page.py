"""The picture of a study: what each run gained against what it lost, and the point to take, as a page and as text.

The decision: every number stands in a table below the picture, and the picture carries numbers instead of names, which
would cover each other where points lie close. The mixtures of base and tuned that a way tried (WiSE-FT's
sweep of alpha) are drawn like the ways themselves: the same two numbers, the same axes.
"""

import html
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from tunesmith.run.page import OPENING
from tunesmith.run.pareto import Point, Study, front, gain

WIDTH, HEIGHT, MARGIN = 640, 360, 66


def table(study: Study) -> str:
    """The points as lines of text, the recommended one marked."""
    points, advice = study.points, study.advice
    on_front = front(points, higher=study.higher)
    lines = [f"{'':2}{'way':<20} {study.metric:>20} {'gained':>9}  lost, nats a token [95 %]       seconds"]
    for way, p in points.items():
        mark = "→" if way == advice.recommended else "≈" if way in advice.alike else "·" if way in on_front else ""
        interval = f"{p.lost:+.4f} [{p.low:+.4f}, {p.high:+.4f}]"
        gained = gain(p, higher=study.higher)
        lines.append(f"{mark:2}{way:<20} {p.value:>20.4f} {gained:>+9.4f}  {interval:<30} {p.seconds:>8,.0f}")
    lines += [f"  {way}: {why}" for way, why in study.left_out.items()]
    lines.append(
        f"→ recommended: {advice.recommended} ({points[advice.recommended].run}); ≈ not to be told from it; · on the "
        "front: nothing gains more and loses less"
    )
    return "\n".join([*lines, advice.because])


def page(study: Study) -> str:
    """The picture and the table as a page that needs no other file."""
    advice = study.advice
    marks = {advice.recommended: " class=best", **dict.fromkeys(advice.alike, " class=alike")}
    rows = "".join(
        f"<tr{marks.get(way, '')}><td>{number} {html.escape(way)}</td>"
        f"<td>{p.value:.4f}</td>"
        f"<td>{gain(p, higher=study.higher):+.4f}</td><td>{p.lost:+.4f}</td><td>{p.low:+.4f} … {p.high:+.4f}</td>"
        f"<td>{p.seconds:,.0f}</td></tr>"
        for number, (way, p) in enumerate(study.points.items(), start=1)
    )
    left_out = "".join(f"<p>{html.escape(way)}: {html.escape(why)}</p>" for way, why in study.left_out.items())
    return _PAGE.format(
        title="Ways to keep what the model can",
        metric=html.escape(study.metric),
        name=html.escape(advice.recommended),
        because=html.escape(advice.because),
        left_out=left_out,
        picture=_picture(study.points, advice.recommended, higher=study.higher),
        rows=rows,
        sweeps="".join(_sweeps(study)),
    )


def _sweeps(study: Study) -> Iterator[str]:
    """What each way tried between base and tuned: both metrics at each share of the tuned model."""
    for way, tried in study.sweeps.items():
        points = _mixtures(study.points[way], tried)
        taken = next((name for name, p in points.items() if p.value == study.points[way].value), "")
        whole = {name: p for name, p in points.items() if "," not in name}
        rows = "".join(
            f"<tr{' class=best' if name == taken else ''}><td>{number} {name}</td><td>{p.value:.4f}</td>"
            f"<td>{gain(p, higher=study.higher):+.4f}</td><td>{p.lost:+.4f}</td></tr>"
            for number, (name, p) in enumerate(points.items(), start=1)
        )
        yield (
            f"<section><h2>{html.escape(way)}: what was tried between base and tuned</h2>"
            f"{_picture(whole, taken, higher=study.higher)}<table><tr><th>tuned share (alpha)</th>"
            f"<th>{html.escape(study.metric)}</th><th>gained</th><th>lost</th></tr>{rows}</table></section>"
        )


def _mixtures(of: Point, tried: Sequence[Mapping[str, Any]]) -> dict[str, Point]:
    """Mixtures by their share, or by one for each third of the layers; lost is what the base, the last one, has not.

    Those of one share come first, from the tuned model to the base.
    """
    base = tried[-1]["general"]
    tried = sorted(tried, key=lambda mixture: (len(set(mixture["shares"])) > 1, -sum(mixture["shares"])))
    found: dict[str, Point] = {}
    for mixture in tried:
        shares = mixture["shares"]
        name = ", ".join(f"{share:.0%}" for share in (shares if len(set(shares)) > 1 else shares[:1]))
        lost = mixture["general"] - base
        found.setdefault(name, Point(of.before, mixture["value"], lost, lost, lost, 0.0, of.run))
    return found


def _picture(points: Mapping[str, Point], name: str, *, higher: bool) -> str:
    gains = {way: gain(point, higher=higher) for way, point in points.items()}
    left, right = min(0.0, *(p.low for p in points.values())), max(0.0, *(p.high for p in points.values()))
    bottom, top = min(gains.values()), max(gains.values())
    wide, high = (right - left) or 1.0, (top - bottom) or 1.0

    def x(lost: float) -> float:
        # A number beside a point at the left edge must not read on what the axis says.
        return MARGIN + 20 + (WIDTH - MARGIN - 60) * (lost - left) / wide

    def y(gained: float) -> float:
        return 38 + (HEIGHT - 100) * (1 - (gained - bottom) / high)

    on_front = front(points, higher=higher)
    parts = [f'<polyline points="{" ".join(f"{x(points[w].lost):.1f},{y(gains[w]):.1f}" for w in on_front)}"/>']
    for number, (way, p) in enumerate(points.items(), start=1):
        kind = "best" if way == name else "front" if way in on_front else "other"
        at = f"{y(gains[way]):.1f}"
        parts.append(f'<line x1="{x(p.low):.1f}" x2="{x(p.high):.1f}" y1="{at}" y2="{at}"/>')
        parts.append(f'<circle class="{kind}" cx="{x(p.lost):.1f}" cy="{at}" r="5"/>')
        # Names would cover each other where points lie close; the table below tells them.
        parts.append(f'<text x="{x(p.lost):.1f}" y="{float(at) - 9:.1f}" text-anchor="middle">{number}</text>')
    parts.append(f'<line class="zero" x1="{x(0):.1f}" x2="{x(0):.1f}" y1="20" y2="{HEIGHT - 44}"/>')
    for value, place in {left: x(left), 0.0: x(0), right: x(right)}.items():
        parts.append(f'<text x="{place:.1f}" y="{HEIGHT - 24}" text-anchor="middle">{value:.3g}</text>')
    for value in (bottom, top):
        parts.append(f'<text x="{MARGIN - 6}" y="{y(value) + 4:.1f}" text-anchor="end">{value:.3g}</text>')
    parts.append(f'<text x="{WIDTH / 2}" y="{HEIGHT - 6}" text-anchor="middle">lost, nats per token →</text>')
    parts.append('<text x="4" y="17">gained ↑</text>')
    label = "What each way gained against what it lost"
    return f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{label}">{"".join(parts)}</svg>'


_PAGE = (
    OPENING
    + """
body {{ margin: 0 auto; max-width: 58rem; padding: 1rem; font: 16px/1.5 system-ui, sans-serif; color: var(--ink);
  background: var(--back) }}
h1 {{ font-size: 1.3rem }} section {{ background: var(--card); border-radius: .5rem; padding: 1rem; margin: 1rem 0;
  overflow-x: auto }}
svg {{ width: 100%; height: auto }} svg text {{ font-size: 12px; fill: var(--soft) }}
svg line {{ stroke: var(--soft) }} svg line.zero {{ stroke-dasharray: 1 4 }}
polyline {{ fill: none; stroke: var(--a); stroke-dasharray: 4 3 }}
circle.other {{ fill: var(--soft) }} circle.front {{ fill: var(--a) }} circle.best {{ fill: var(--b) }}
table {{ border-collapse: collapse; width: 100% }} td, th {{ text-align: right; padding: .2rem .6rem }}
td {{ white-space: nowrap }} td:first-child, th:first-child {{ text-align: left }}
tr.best td {{ color: var(--b); font-weight: 600 }} tr.alike td {{ color: var(--b) }}
h2 {{ font-size: 1rem; margin: 0 0 .5rem }}
@media (max-width: 36rem) {{ svg text {{ font-size: 18px }} }}
</style></head><body><h1>{title}</h1>
<p>Recommended: <strong>{name}</strong>. {because}</p>{left_out}
<p>A dashed line joins the points that nothing beats in both; whiskers are 95 % intervals of what was lost; at the
dotted line nothing was.</p>
<section>{picture}</section>
<section><table><tr><th>way</th><th>{metric}</th><th>gained</th><th>lost</th><th>95 %</th><th>seconds</th></tr>
{rows}</table></section>
{sweeps}
</body></html>
"""
)
