"""What a check found, as one page that needs no other file: balance, findings, pictures, pairs, samples.

The decision: everything is told in the order in which a person decides: can a run start, what is wrong and where, what
do the data look like, and what exactly would be learned. Pictures are SVG in the page; nothing is fetched.
"""

import difflib
import html
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from itertools import chain, islice
from typing import TYPE_CHECKING

from tunesmith.cli.check import by_kind, facts, remedy, told
from tunesmith.data.checks import Finding
from tunesmith.data.duplicates import whole_text
from tunesmith.data.example import AnyExample, Origin, Passage, Tokenized
from tunesmith.data.inspection import read_other
from tunesmith.data.reading import Balance, stream_examples
from tunesmith.tokens.show import STYLE, article

if TYPE_CHECKING:
    from tunesmith.run.check import Check

PLACES = 20
PAIRS = 4
BARS = 32
TALLEST = 120
LONGEST_TEXT = 2_000
"""Characters of a text that stands beside another."""
SIDE_BY_SIDE = ("duplicate", "near-duplicate", "conflicting-answers", "leak", "near-leak", "contamination")


def page(checked: "Check", *, against: Sequence[str] = ()) -> str:
    """The page; files are read again for the pairs that it shows."""
    parts = [
        *_balance(checked),
        *_findings(checked),
        *_pictures(checked),
        *_pairs(checked, against),
        "<section><h2>What would be learned</h2><p>Grey is context, "
        '<span class="l" style="--w:.5">coloured</span> is learned. Point at a token to see its id.</p>',
        *(article(one) for one in checked.samples),
        "</section>",
    ]
    title = html.escape(f"Check of {', '.join(checked.files)}")
    return _PAGE.format(title=title, style=STYLE, body="\n".join(parts))


def _balance(checked: "Check") -> Iterator[str]:
    verdict = "A run could start." if checked.could_start() else "A run could not start."
    kind = "good" if checked.could_start() else "bad"
    dropped = sum(checked.dropped.values())
    yield f'<section><p class="verdict {kind}">{verdict}</p><div class="balance">'
    for number, what in (
        (checked.read, "records read"), (checked.usable, "usable"), (dropped, "dropped")
    ):  # fmt: skip
        yield f"<div><b>{number:,}</b> {what}</div>"
    yield "</div>"
    if checked.dropped:
        yield _bars_of_names(dict(Counter(checked.dropped).most_common()), "Why records drop out")
    yield "<dl>"
    for name, value in facts(checked):
        yield f"<dt>{html.escape(name)}</dt><dd>{html.escape(value)}</dd>"
    yield "</dl></section>"


def _findings(checked: "Check") -> Iterator[str]:
    yield "<section><h2>Findings</h2>"
    if not checked.findings:
        yield "<p>None.</p>"
    for name, found in by_kind(checked.findings):
        level, total = found[0].level, checked.totals[name]
        yield f'<details{" open" if level == "stop" else ""}><summary><span class="level {level}">{level}</span> '
        yield f"<b>{html.escape(name)}</b> {total:,}</summary>"
        sentence, command = remedy(name, checked.files[0], found)
        typed = f"<br><code>{html.escape(command)}</code>" if command else ""
        yield f"<p>{html.escape(sentence)}{typed}</p><ul>"
        yield from (f"<li>{html.escape(line)}</li>" for line in told(found[:PLACES]))
        if total > PLACES:
            yield f"<li>… and {total - PLACES:,} more</li>"
        yield "</ul></details>"
    yield "</section>"


def _pictures(checked: "Check") -> Iterator[str]:
    survey = checked.survey
    yield '<section><h2>Shape</h2><div class="pictures">'
    if checked.lengths:
        yield _histogram(*_binned(checked.lengths, checked.tokens.percentiles["p99"]), "Tokens of an example")
    for counts, title in ((survey.prompt_words, "Words of a prompt"), (survey.answer_words, "Words of an answer")):
        if counts:
            yield _histogram(*_doubling(counts), title)
    yield "</div>"
    if survey.classes:
        yield _bars_of_names(dict(survey.classes.most_common(20)), f"Classes ({len(survey.classes):,} in all)")
    for openings, what in ((survey.prompt_openings, "prompts"), (survey.openings, "answers")):
        repeated = {words[:40]: count for words, count in openings.most_common(10) if count > 1 and words}
        if repeated and not (what == "answers" and survey.classes):
            yield _bars_of_names(repeated, f"How {what} begin ({len(openings):,} ways in all)")
    if survey.personal:
        yield _bars_of_names(dict(survey.personal.most_common()), "Examples that seem to hold personal data")
    if len(survey.languages) > 1:
        yield _bars_of_names(dict(survey.languages.most_common(10)), "Languages")
    yield "</section>"


def _binned(lengths: Mapping[int, int], last: int) -> tuple[list[int], list[str]]:
    """Counts in bins of equal width up to `last`; what is longer stands in the last bin."""
    width = max(1, -(-last // BARS))
    bins = [0] * -(-(last + 1) // width)
    for length, count in lengths.items():
        bins[min(length // width, len(bins) - 1)] += count
    names = [f"{i * width:,} to {(i + 1) * width - 1:,}" for i in range(len(bins))]
    if max(lengths) > last:
        names[-1] = f"{(len(bins) - 1) * width:,} or more"
    return bins, names


def _doubling(counts: Mapping[int, int]) -> tuple[list[int], list[str]]:
    """Counts in bins that double, from the shortest to the longest that occurs."""
    starts = [0, *(1 << i for i in range(max(counts).bit_length()))]
    starts = [start for start in starts if start >= min(counts)]
    names = [f"{start:,}" if start < 2 else f"{start:,} to {2 * start - 1:,}" for start in starts]
    return [counts.get(start, 0) for start in starts], names


def _histogram(counts: Sequence[int], names: Sequence[str], title: str) -> str:
    step, most = 600 / len(counts), max(counts)
    bars = []
    for i, (count, name) in enumerate(zip(counts, names, strict=True)):
        height = TALLEST * count / most
        place = f'x="{i * step:.1f}" y="{TALLEST - height:.1f}" width="{step * 0.9:.1f}" height="{height:.1f}"'
        bars.append(f"<rect {place}><title>{name}: {count:,}</title></rect>")
    first, last = html.escape(names[0]), html.escape(names[-1])
    axis = f'<text x="0" y="142">{first}</text><text x="600" y="142" text-anchor="end">{last}</text>'
    picture = f'<svg viewBox="0 0 600 148" role="img" aria-label="{title}">{"".join(bars)}{axis}</svg>'
    return f"<figure><figcaption>{title} <small>tallest bar: {most:,}</small></figcaption>{picture}</figure>"


def _bars_of_names(counts: Mapping[str, int], title: str) -> str:
    most = max(counts.values())
    rows = "".join(
        f'<tr><th>{html.escape(name[:80])}</th><td><div class="bar" style="width:{100 * count / most:.1f}%"></div></td>'
        f"<td>{count:,}</td></tr>"
        for name, count in counts.items()
    )
    return f'<figure><figcaption>{title}</figcaption><table class="bars">{rows}</table></figure>'


def _pairs(checked: "Check", against: Sequence[str]) -> Iterator[str]:
    shown: list[Finding] = []
    for name in SIDE_BY_SIDE:
        shown += islice((f for f in checked.findings if f.name == name and f.other is not None), PAIRS)
    if not shown:
        return
    wanted = {f.other for f in shown if f.other} | {Origin(f.file, f.line) for f in shown if f.line}
    files = (item for file in checked.files for item in stream_examples(file, Balance(), **checked.reading))
    others = (item for file in against for item in read_other(file, checked.reading, file).examples)
    texts = {
        item.origin: _spoken(item)[:LONGEST_TEXT]
        for item in chain(files, others)
        if isinstance(item, AnyExample) and item.origin in wanted
    }
    yield "<section><h2>Side by side</h2>"
    for finding in shown:
        here, other = Origin(finding.file, finding.line or 0), finding.other
        if other is None or here not in texts or other not in texts:
            continue
        left, right = _marked(texts[other], texts[here])
        yield f'<h3><span class="level {finding.level}">{finding.level}</span> {html.escape(finding.name)}</h3>'
        yield f'<div class="pair"><div><h4>{html.escape(str(other))}</h4><pre>{left}</pre></div>'
        yield f"<div><h4>{html.escape(str(here))}</h4><pre>{right}</pre></div></div>"
    yield "</section>"


def _spoken(item: AnyExample) -> str:
    if isinstance(item, Passage):
        return item.text
    if isinstance(item, Tokenized):
        return whole_text(item)
    return "\n".join(f"{message.role}: {message.content}" for message in item.messages)


def _marked(left: str, right: str) -> tuple[str, str]:
    """Both texts as HTML, with the words marked that differ."""
    sides = [re.findall(r"\s*\S+", text) for text in (left, right)]
    same = difflib.SequenceMatcher(None, left.split(), right.split(), autojunk=False)
    written: tuple[list[str], list[str]] = ([], [])
    for kind, a, b, c, d in same.get_opcodes():
        for words, out in ((sides[0][a:b], written[0]), (sides[1][c:d], written[1])):
            text = html.escape("".join(words))
            if text:
                out.append(text if kind == "equal" else f"<mark>{text}</mark>")
    return "".join(written[0]), "".join(written[1])


_PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<style>
:root {{ color-scheme: light dark; --line: light-dark(#ddd, #333); --bar: light-dark(#2a8a5a, #4ab080);
  --soft: light-dark(#595959, #a0a0a0); }}
body {{ font: 15px/1.5 system-ui, sans-serif; max-width: 66rem; margin: 1.5rem auto; padding: 0 1rem;
  background: light-dark(#fff, #121212); color: light-dark(#1a1a1a, #e6e6e6); }}
h1 {{ font-size: 1.4rem; overflow-wrap: anywhere; }} h2 {{ font-size: 1.15rem; margin-top: 2rem; }}
h3, h4, article h2 {{ font-size: 1rem; margin: 1rem 0 .25rem; overflow-wrap: anywhere; }}
h4, article h2 {{ color: var(--soft); font-weight: 500; }}
.verdict {{ padding: .6rem 1rem; border-radius: .5rem; font-weight: 600; }}
.good {{ background: light-dark(#dff3e6, #143322); }} .bad {{ background: light-dark(#fbe1e1, #421a1a); }}
.balance {{ display: flex; flex-wrap: wrap; gap: .5rem 2.5rem; }} .balance b {{ font-size: 1.6rem; }}
dl {{ display: grid; grid-template-columns: max-content 1fr; gap: .25rem 1rem; }}
dt {{ color: var(--soft); }} dd {{ margin: 0; overflow-wrap: anywhere; }}
details {{ border-top: 1px solid var(--line); padding: .4rem 0; }} summary {{ cursor: pointer; }}
code {{ font-size: .9rem; overflow-wrap: anywhere; }} small {{ color: var(--soft); font-weight: 400; }}
li {{ overflow-wrap: anywhere; }} details p {{ margin: .4rem 0; overflow-wrap: anywhere; }}
.level {{ display: inline-block; min-width: 3rem; text-align: center; border-radius: .3rem; font-size: .85rem; }}
.stop {{ background: light-dark(#b3261e, #f2b8b5); color: light-dark(#fff, #3a0a08); }}
.warn {{ background: light-dark(#f4d58d, #8a6d1f); color: light-dark(#3d2c00, #fff); }}
.note {{ background: light-dark(#d6e4f0, #2c4257); color: light-dark(#123, #e6f0fa); }}
.pictures {{ display: grid; grid-template-columns: repeat(auto-fit, minmax(min(19rem, 100%), 1fr)); gap: 1.5rem; }}
figure {{ margin: .75rem 0; }} figcaption {{ font-weight: 600; margin-bottom: .25rem; }}
svg {{ width: 100%; height: auto; }} rect {{ fill: var(--bar); }} svg text {{ fill: var(--soft); font-size: 17px; }}
.bars {{ width: 100%; border-spacing: 0 3px; }} .bars th {{ text-align: left; font-weight: 400; width: 35%;
  overflow-wrap: anywhere; }} .bars td:last-child {{ text-align: right; width: 4.5rem; }}
.bar {{ background: var(--bar); height: .9rem; border-radius: 2px; min-width: 2px; }}
.pair {{ display: grid; grid-template-columns: repeat(auto-fit, minmax(min(20rem, 100%), 1fr)); gap: 1rem; }}
.pair > div {{ min-width: 0; }} mark {{ background: light-dark(#ffe28a, #6b5200); color: inherit; }}
{style}
</style></head><body>
<h1>{title}</h1>
{body}
</body></html>
"""
