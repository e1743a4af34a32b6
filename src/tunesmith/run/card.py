"""The model card, in the hub's Markdown; and a run's report written as its page and as a card beside its weights.

The decision: the card is made of the report alone, so whatever adds to the report (an audit) writes both anew, and a
model carries what is known of it wherever it goes. Licences stand by the hub's identifiers, data by their names, never
by where they lay.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from tunesmith.data.remote import HUB
from tunesmith.run import folder as places
from tunesmith.run.page import interval, p_value, page, pair, rows, said
from tunesmith.training import durable
from tunesmith.training.journal import read as read_journal


def write_pages(folder: Path, report: Mapping[str, Any]) -> None:
    """The report of the run in `folder` as a page, and as a card beside each set of weights."""
    recipe = (folder / places.RECIPE).read_text(encoding="utf-8")
    durable.write_text(folder / places.PAGE, page(report, read_journal(folder / places.METRICS), recipe))
    for weights in (folder / name for name in places.WEIGHTS):
        if weights.is_dir():
            durable.write_text(weights / "README.md", card(report))


def card(report: Mapping[str, Any]) -> str:
    """The model card of a finished run."""
    body = [
        f"# {report['model']['name']}, fine-tuned",
        "",
        f"Trained with Tunesmith ({report['method']['kind']}, {report['steps']} steps).",
        *_gained(report),
        *("", "## What was lost", ""),
        *(f"- {line}" for line in pair(report)[1]),
        *("", "Intervals are 95 %. What was lost is measured against the base model; on text that the base wrote"),
        "itself any change counts as a loss. The licences of the base model and of the data hold for this model too.",
        *_audit(report),
        *("", "## What it was made of", "", "| | |", "|---|---|"),
        *(f"| {name} | {_cell(value)} |" for name, value in rows(report)),
    ]
    return "\n".join([*_head(report), *body, ""])


def _head(report: Mapping[str, Any]) -> Iterator[str]:
    """The metadata that the hub reads (https://huggingface.co/docs/hub/model-cards)."""
    model, files = report["model"], report["data"].get("files", {})
    yield "---"
    yield "library_name: " + ("peft" if report["method"]["kind"] == "lora" else "transformers")
    yield "pipeline_tag: text-generation"
    if model.get("licence"):
        identifier, _, name = model["licence"].partition(": ")
        yield f"license: {identifier.lower()}"
        if name:
            yield f"license_name: {name}"
    if model.get("hub_id"):
        yield f"base_model: {model['hub_id']}"
    hub = {name.removeprefix(HUB).split(":")[0] for of in files.values() for name in of if name.startswith(HUB)}
    if hub:
        yield from ("datasets:", *(f"- {name}" for name in sorted(hub)))
    yield from ("tags:", "- tunesmith", "---", "")


def _gained(report: Mapping[str, Any]) -> Iterator[str]:
    """The metrics as a table, or what the validation set told where there is none."""
    yield from ("", "## What was gained", "")
    found = report.get("gains") or {"on": "", "numbers": {}}
    numbers = found["numbers"]
    if numbers:
        where = "test set" if found["on"] == "test" else "validation set, where the model was chosen"
        yield f"| on the {where} | base | this model | difference | p | items |"
        yield "|---|---|---|---|---|---|"
        for name, one in numbers.items():
            sides = " | ".join(f"{s['value']:.4f} {interval(s, '')}" for s in (one["before"], one["after"]))
            change = f"{one['difference']:+.4f} {interval(one)}"
            yield f"| {said(name)} | {sides} | {change} | {p_value(one['p'])} | {one['after']['items']:,} |"
        yield ""
    others = [line for line in pair(report)[0] if not numbers or "[" not in line]
    yield from (f"- {line}" for line in others or (["not measured"] if not numbers else []))


def _audit(report: Mapping[str, Any]) -> Iterator[str]:
    """What an audit found beside the task, where there was one."""
    if "audit" not in report:
        return
    yield from ("", "## Beside the task", "", "| (memorised: held out, then trained) | before | after | p | |")
    yield "|---|---|---|---|---|"
    for name, one in report["audit"].items():
        before, after = (f"{s['value']:.1%} [{s['low']:.1%}, {s['high']:.1%}]" for s in (one["before"], one["after"]))
        warning = _cell(f"warning: {one['warning']}") if one["warning"] else ""
        yield f"| {_cell(name.replace('_', ' '))} | {before} | {after} | {p_value(one['p'])} | {warning} |"


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")
