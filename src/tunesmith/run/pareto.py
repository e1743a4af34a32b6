"""The picture of a study: what each run gained against what it lost, and the point to take.

The decision: a study recommends one point, by a rule that fits in a sentence, and shows all of them, so that whoever
weighs gain and loss otherwise sees what to take instead.
"""

import html
from collections.abc import Mapping
from dataclasses import dataclass

from tunesmith.run.page import OPENING

WORTH = 0.02
"""The share of the best gain that a recommended run may lack."""
WIDTH, HEIGHT, MARGIN = 640, 360, 66


@dataclass(frozen=True, slots=True)
class Point:
    """The task's metric before and after, nats per token lost on general text with their interval, seconds, the run."""

    before: float
    value: float
    lost: float
    low: float
    high: float
    seconds: float
    run: str


def gain(point: Point, *, higher: bool) -> float:
    """By how much the metric became better."""
    return point.value - point.before if higher else point.before - point.value


def front(points: Mapping[str, Point], *, higher: bool) -> list[str]:
    """The names of the points that no other beats in both (Pareto's front), by what they lost."""
    gains = {name: gain(point, higher=higher) for name, point in points.items()}

    def beaten(name: str) -> bool:
        return any(
            gains[other] >= gains[name]
            and points[other].lost <= points[name].lost
            and (gains[other], points[other].lost) != (gains[name], points[name].lost)
            for other in points
        )

    return sorted((name for name in points if not beaten(name)), key=lambda name: points[name].lost)


def recommended(points: Mapping[str, Point], *, higher: bool) -> str:
    """The point that lost least among those with nearly the best gain; of equal ones the greater gain."""
    gains = {name: gain(point, higher=higher) for name, point in points.items()}
    best = max(gains.values())
    enough = [name for name in points if gains[name] >= best - WORTH * abs(best)]
    return min(enough, key=lambda name: (points[name].lost, -gains[name]))


def table(metric: str, points: Mapping[str, Point], name: str, *, higher: bool) -> str:
    """The points as lines of text, the recommended one marked."""
    on_front = front(points, higher=higher)
    lines = [f"{'':2}{'way':<20} {metric:>20} {'gained':>9}  lost, nats a token [95 %]       seconds"]
    for way, p in points.items():
        mark = "→" if way == name else "·" if way in on_front else ""
        interval = f"{p.lost:+.4f} [{p.low:+.4f}, {p.high:+.4f}]"
        lines.append(
            f"{mark:2}{way:<20} {p.value:>20.4f} {gain(p, higher=higher):>+9.4f}  {interval:<30} {p.seconds:>8,.0f}"
        )
    lines.append(f"→ recommended: {name} ({points[name].run}); · on the front: nothing gains more and loses less")
    return "\n".join(lines)


def page(metric: str, points: Mapping[str, Point], name: str, *, higher: bool) -> str:
    """The picture and the table as a page that needs no other file."""
    rows = "".join(
        f"<tr{' class=best' if way == name else ''}><td>{number} {html.escape(way)}</td>"
        f"<td>{p.value:.4f}</td>"
        f"<td>{gain(p, higher=higher):+.4f}</td><td>{p.lost:+.4f}</td><td>{p.low:+.4f} … {p.high:+.4f}</td>"
        f"<td>{p.seconds:,.0f}</td></tr>"
        for number, (way, p) in enumerate(points.items(), start=1)
    )
    return _PAGE.format(
        title="Ways to keep what the model can",
        metric=html.escape(metric),
        name=html.escape(name),
        picture=_picture(points, name, higher=higher),
        rows=rows,
    )


def _picture(points: Mapping[str, Point], name: str, *, higher: bool) -> str:
    gains = {way: gain(point, higher=higher) for way, point in points.items()}
    left, right = min(0.0, *(p.low for p in points.values())), max(0.0, *(p.high for p in points.values()))
    bottom, top = min(gains.values()), max(gains.values())
    wide, high = (right - left) or 1.0, (top - bottom) or 1.0

    def x(lost: float) -> float:
        return MARGIN + (WIDTH - MARGIN - 40) * (lost - left) / wide

    def y(gained: float) -> float:
        return 28 + (HEIGHT - 90) * (1 - (gained - bottom) / high)

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
    parts.append('<text x="4" y="12">gained ↑</text>')
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
tr.best td {{ color: var(--b); font-weight: 600 }}
@media (max-width: 36rem) {{ svg text {{ font-size: 18px }} }}
</style></head><body><h1>{title}</h1>
<p>Recommended: <strong>{name}</strong>. It lost least of those with nearly the best gain. A dashed line joins the
points that nothing beats in both; whiskers are 95 % intervals of what was lost; at the dotted line nothing was.</p>
<section>{picture}</section>
<section><table><tr><th>way</th><th>{metric}</th><th>gained</th><th>lost</th><th>95 %</th><th>seconds</th></tr>
{rows}</table></section>
</body></html>
"""
)
