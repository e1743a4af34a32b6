"""report.html: what a run's report says, for people, in one file that needs no other.

The decision: the page says first what was gained and what was lost, then shows how it went, then lists what it was made
of. Curves are SVG in the page, colours follow the reader's light or dark, and nothing is fetched.
"""

import html
import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from tunesmith.run.showing import sections, settings

Journal = Sequence[Mapping[str, Any]]
Points = list[tuple[float, float]]

WIDTH, HEIGHT, MARGIN = 640, 200, 96


def page(report: Mapping[str, Any], journal: Journal, recipe: str = "") -> str:
    """The page of a finished run, from its report, its journal and the text of its resolved recipe."""
    body = [*_verdict(report), *_curves(report, journal), *sections(report), *_facts(report), *settings(recipe)]
    return _PAGE.format(title=html.escape(f"Report of {report['run']}"), body="\n".join(body))


def pair(report: Mapping[str, Any]) -> tuple[list[str], list[str]]:
    """What was gained and what was lost, in short sentences."""
    gained, lost = [*_gained(report)], []
    kept = report.get("retention") or {}
    if "general" in kept:
        change, kl = kept["general"]["forgotten"], kept["general"]["kl"]
        lost.append(f"{change['value']:.4f} [{change['low']:.4f}, {change['high']:.4f}] nats per token of general text")
        lost.append(f"KL(base ‖ tuned) {kl['value']:.4f} there")
    if "prompts" in kept:
        lost.append(f"KL {kept['prompts']['kl']['value']:.4f} on the task's prompts")
    for name, one in kept.get("tasks", {}).items():
        interval = f"{one['difference']:+.4f} [{one['low']:+.4f}, {one['high']:+.4f}], p {one['p']:.3f}"
        lost.append(f"{name} {one['left']:.4f} → {one['right']:.4f} ({interval}, {one['items']} items)")
    return gained, lost or ["not measured"]


def _gained(report: Mapping[str, Any]) -> Iterator[str]:
    """What was measured on the test set first; then what was measured where the model was chosen."""
    found = report.get("gains") or {"on": "validation", "numbers": {}}
    test, paired = found["on"] == "test", found["numbers"]
    chosen = " (validation, where the model was chosen)" if test else ""
    if test:
        yield from (_of_pair(name, one, "on the test set") for name, one in paired.items())
    loss = report["validation_loss"]
    if loss["best"] is not None:
        yield f"validation loss {loss['before']:.4f} → {loss['best']:.4f}" + " (where the model was chosen)" * test
    for name, change in report.get("task", {}).items():
        if not test and name in paired:
            yield _of_pair(name, paired[name], "of the validation set, where the model was chosen")
        else:
            yield f"{name.removeprefix('task_')} {change['before']:.4f} → {change['best']:.4f}{chosen}"


def _of_pair(name: str, one: Mapping[str, Any], where: str) -> str:
    """A number of both models with their difference, its interval and p."""
    change = f"{one['difference']:+.4f} {interval(one)}, p {p_value(one['p'])}"
    items = f"{one['after']['items']:,} {'examples' if name.startswith('test_') else 'questions'}"
    return f"{said(name)} {one['before']['value']:.4f} → {one['after']['value']:.4f} ({change}; {items} {where})"


def said(name: str) -> str:
    """The name of a number as people read it: a metric by its own name."""
    return name.replace("_", " ") if name.startswith("test_") else name.removeprefix("task_")


def interval(of: Mapping[str, float], sign: str = "+") -> str:
    """`low` and `high`, with their signs where they are of a difference."""
    return f"[{of['low']:{sign}.4f}, {of['high']:{sign}.4f}]"


def p_value(p: float) -> str:
    """p with as many digits as mean something."""
    return f"{p:.3f}" if p >= 0.0005 else "< 0.001"


def rows(report: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """What a run was made of: a name and a text each."""
    data, count = report["data"], report["parameters"]
    if report.get("interpolation"):
        shares = ", ".join(f"{share:.0%}" for share in report["interpolation"]["chosen"]["shares"])
        yield "mixed with the base", f"{shares} of the tuned model in each third of the layers"
    dropped = sum(data["dropped"].values())
    yield "data", f"{data['format']}: {data['train']:,} train, {data['validation']:,} validation, {data['test']:,} test"
    names = ((part, of) for part, of in data.get("files", {}).items() if of)
    told = "; ".join(f"{part}: {', '.join(of)}" for part, of in names)
    if told:
        yield "files", told
    yield "records", f"{data['read']:,} read, {dropped:,} dropped"
    findings = ", ".join(f"{name} {number:,}" for name, number in data["findings"].items())
    yield "findings", findings or "none"
    yield (
        "licences",
        f"model: {report['model'].get('licence') or 'not said'}; data: {data.get('licence') or 'not said'}",
    )
    yield "parameters", f"{count['trained']:,} of {count['total']:,} trained"
    yield "steps", f"{report['steps']:,} ({report['ended']}), best at {report['best_step'] or '—'}"
    yield "tokens", f"{report['tokens']:,} in the data, {report['computed_tokens']:,} computed"
    yield "time", f"{report['training_seconds']:,} s of training, {report['seconds']:,} s in all"
    if report.get("joules"):
        yield "energy", f"{report['joules'] / 3600:,.1f} Wh of the processor, all that ran on it included"
    if report.get("gains") and report["gains"]["on"] == "test":
        tested = report["gains"]
        yield "measuring the test set", f"{tested['seconds']:,} s: {tested['examples']:,} of {tested['of']:,} examples"
    if report.get("retention"):
        kept = report["retention"]
        wrote = kept.get("writing_seconds")
        once = f"; before that the base wrote it in {wrote:,} s, once for all runs on it" if wrote else ""
        yield "measuring retention", f"{kept['seconds']:,} s, text: {kept['text']}{once}"
    yield "memory", f"{report['peak_bytes'] / 2**30:.2f} GiB at most, on {report['device']}"
    yield "versions", ", ".join(f"{name} {version}" for name, version in report["versions"].items())


def _verdict(report: Mapping[str, Any]) -> Iterator[str]:
    gained, lost = pair(report)
    for name, lines in (("Gained", gained or ["not measured"]), ("Lost", lost)):
        items = "".join(f"<li>{html.escape(line)}</li>" for line in lines)
        yield f'<section class="half"><h2>{name}</h2><ul>{items}</ul></section>'


def _curves(report: Mapping[str, Any], journal: Journal) -> Iterator[str]:
    steps, best = report["steps"], report["best_step"]
    losses = {
        "training": _of(journal, "loss"),
        "validation": [*_before(report["validation_loss"]), *_of(journal, "validation_loss")],
    }
    yield _figure("Loss (nats per target)", losses, steps, best)
    names = sorted({key for entry in journal for key in entry if key.startswith("task_")})
    for name in names:
        line = [*_before(report["task"].get(name, {})), *_of(journal, name)]
        yield _figure(name.removeprefix("task_"), {name.removeprefix("task_"): line}, steps, best)
    kept = report.get("retention") or {}
    points = _of(journal, "retention_loss")
    if points and kept.get("loss_before") is not None:
        lost = [(0.0, 0.0), *((step, value - kept["loss_before"]) for step, value in points)]
        # The mean of log p(base) - log p(tuned) over what the base drew is an estimate of their divergence.
        own = ", which wrote it: an estimate of KL(base ‖ tuned)" if kept["text"] == "auto" else ""
        yield _figure(f"Lost on general text (nats per token above the base{own})", {"lost": lost}, steps, best)


def _before(change: Mapping[str, Any]) -> Points:
    """What was measured before the first step, as a point of the curve."""
    before = change.get("before")
    return [(0.0, float(before))] if before is not None and math.isfinite(before) else []


def _of(journal: Journal, key: str) -> Points:
    pairs = [(float(entry["step"]), entry.get(key)) for entry in journal]
    return [(step, float(value)) for step, value in pairs if value is not None and math.isfinite(value)]


def _figure(title: str, lines: Mapping[str, Points], steps: int, best: int | None) -> str:
    """A picture of curves over all `steps`; a line stands at the best one."""
    points = [point for line in lines.values() for point in line]
    if not points:
        return ""
    low, high = min(value for _, value in points), max(value for _, value in points)
    high = high if high > low else low + 1.0

    def at(point: tuple[float, float]) -> str:
        x = MARGIN + (WIDTH - MARGIN - 8) * point[0] / max(steps, 1)
        return f"{x:.1f},{8 + (HEIGHT - 32) * (1 - (point[1] - low) / (high - low)):.1f}"

    parts = [f'<polyline class="c{i}" points="{" ".join(map(at, line))}"/>' for i, line in enumerate(lines.values())]
    parts += [
        '<circle class="c{}" cx="{}" cy="{}" r="3"/>'.format(i, *at(point).split(","))
        for i, line in enumerate(lines.values())
        for point in (line if len(line) <= 40 else ())
    ]
    if best:
        x = at((float(best), low)).split(",")[0]
        parts.append(f'<line class="best" x1="{x}" x2="{x}" y1="8" y2="{HEIGHT - 24}"/>')
    for value, y in ((high, 16), (low, HEIGHT - 24)):
        parts.append(f'<text x="{MARGIN - 6}" y="{y}" text-anchor="end">{value:.3g}</text>')
    parts.append(f'<text x="{MARGIN}" y="{HEIGHT - 6}">step 0</text>')
    parts.append(f'<text x="{WIDTH - 8}" y="{HEIGHT - 6}" text-anchor="end">{steps:,}</text>')
    legend = " ".join(f'<span class="k{i}">{html.escape(name)}</span>' for i, name in enumerate(lines))
    name = html.escape(title)
    return (
        f'<section><h2>{name}</h2><svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{name}">'
        f"{''.join(parts)}</svg><p>{legend}</p></section>"
    )


def _facts(report: Mapping[str, Any]) -> Iterator[str]:
    yield "<section><h2>What it was made of</h2><dl>"
    yield f"<dt>model</dt><dd>{html.escape(report['model']['name'])}</dd>"
    method = ", ".join(f"{name} {value}" for name, value in report["method"].items() if value is not None)
    yield f"<dt>method</dt><dd>{html.escape(method)}</dd>"
    for name, value in rows(report):
        yield f"<dt>{html.escape(name)}</dt><dd>{html.escape(value)}</dd>"
    yield "</dl></section>"


OPENING = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title><style>
:root {{ color-scheme: light dark; --ink: #1d2330; --soft: #5b6475; --back: #fff; --card: #f5f6f8; --a: #2f6fb3;
  --b: #c8511b }}
@media (prefers-color-scheme: dark) {{ :root {{ --ink: #e7e9ee; --soft: #a3acbd; --back: #14171d; --card: #1e232c;
  --a: #7db4ec; --b: #f0936a }} }}
"""
"""How a page of ours begins: its title, and its colours by day and by night."""

_PAGE = (
    OPENING
    + """
body {{ margin: 0 auto; max-width: 62rem; padding: 1rem; font: 16px/1.5 system-ui, sans-serif; color: var(--ink);
  background: var(--back); display: flex; flex-wrap: wrap; gap: 1rem }}
h1 {{ width: 100%; font-size: 1.3rem; margin: 0; overflow-wrap: anywhere }}
h2 {{ font-size: 1rem; margin: 0 0 .5rem }}
section {{ width: 100%; box-sizing: border-box; background: var(--card); border-radius: .5rem; padding: 1rem }}
.half {{ flex: 1 1 18rem; width: auto }}
ul {{ margin: 0; padding-left: 1.2rem }}
svg {{ width: 100%; height: auto; display: block }}
svg text {{ font-size: 13px; fill: var(--soft) }}
polyline {{ fill: none; stroke-width: 1.6 }}
polyline.c0 {{ stroke: var(--a) }} polyline.c1 {{ stroke: var(--b) }}
circle.c0 {{ fill: var(--a) }} circle.c1 {{ fill: var(--b) }}
.best {{ stroke: var(--soft); stroke-dasharray: 3 3 }}
.k0 {{ color: var(--a) }} .k1 {{ color: var(--b) }} .k0::before, .k1::before {{ content: "● " }}
p {{ margin: .3rem 0 0; color: var(--soft) }}
dl {{ display: grid; grid-template-columns: max-content 1fr; gap: .2rem 1rem; margin: 0 }}
h3 {{ font-size: .85rem; margin: .3rem 0; color: var(--soft) }} summary {{ cursor: pointer; overflow-wrap: anywhere }}
pre {{ white-space: pre-wrap; overflow-wrap: anywhere; font: inherit; margin: 0 }} .wide {{ overflow-x: auto }}
.side pre {{ max-height: 16rem; overflow-y: auto }}
.side {{ display: grid; grid-template-columns: repeat(3, 1fr); gap: 1rem; margin: .5rem 0 1rem }}
table {{ border-collapse: collapse }} .wide td {{ white-space: nowrap }}
td, th {{ text-align: left; padding: .15rem .6rem .15rem 0; font-weight: normal }}
.settings td {{ white-space: normal; overflow-wrap: break-word; max-width: 22rem; vertical-align: top }}
@media (max-width: 40rem) {{ .settings th {{ display: none }}
.settings tr, .settings td {{ display: block; max-width: none }} .settings td:first-child {{ color: var(--soft) }} }}
.confusion td {{ text-align: right; padding: .1rem .4rem; min-width: 1.2rem }}
.confusion tr:first-child th {{ vertical-align: bottom }}
.confusion tr:first-child th span {{ writing-mode: vertical-rl; transform: rotate(180deg) }}
.hit {{ background: color-mix(in srgb, var(--a) calc(var(--share) * 60%), transparent) }}
.miss {{ background: color-mix(in srgb, var(--b) calc(var(--share) * 90%), transparent) }}
dt {{ color: var(--soft) }} dd {{ margin: 0; overflow-wrap: anywhere }}
@media (max-width: 44rem) {{ .side {{ grid-template-columns: 1fr }} }}
@media (max-width: 36rem) {{ svg text {{ font-size: 18px }} dl {{ display: block }} dd {{ margin-bottom: .5rem }} }}
</style></head><body><h1>{title}</h1>
{body}
</body></html>
"""
)
