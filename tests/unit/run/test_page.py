from html.parser import HTMLParser
from typing import Any

from tunesmith.run.page import MARGIN, card, page, pair

SCORE = {"value": 0.02, "low": 0.01, "high": 0.03, "items": 8}
REPORT: dict[str, Any] = {
    "run": "runs/<a>", "model": {"name": "tiny"}, "method": {"kind": "lora", "rank": 4}, "steps": 8, "ended": "done",
    "best_step": 4, "parameters": {"total": 1000, "trained": 10}, "tokens": 900, "computed_tokens": 300,
    "data": {
        "format": "messages", "read": 12, "dropped": {}, "train": 10, "validation": 2, "test": 0, "findings": {},
    },
    "validation_loss": {"before": 2.0, "best": 0.5}, "task": {"task_exact_match": {"before": 0.1, "best": 0.9}},
    "retention": {
        "text": "auto", "loss_before": 3.0, "seconds": 1.5, "general": {"forgotten": SCORE, "kl": SCORE},
        "prompts": {"kl": SCORE},
    },
    "training_seconds": 10.0, "seconds": 12.0, "peak_bytes": 2**30, "device": "cpu", "versions": {"torch": "2"},
}  # fmt: skip
AT_FOUR = {"validation_loss": 0.5, "task_exact_match": 0.5, "retention_loss": 3.1}
JOURNAL = [{"step": s, "loss": 1 / s, **(AT_FOUR if s == 4 else {})} for s in range(1, 9)]


def test_the_pair_says_what_was_gained_and_what_was_lost() -> None:
    gained, lost = pair(REPORT)
    assert gained == ["validation loss 2.0000 → 0.5000", "exact_match 0.1000 → 0.9000"]
    assert lost[0] == "0.0200 [0.0100, 0.0300] nats per token of general text"
    assert pair({**REPORT, "retention": None})[1] == ["not measured"]


def test_the_page_is_whole_and_fetches_nothing() -> None:
    opened: list[str] = []
    addresses: list[str] = []

    class Reader(HTMLParser):
        def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
            addresses.extend(value or "" for name, value in attrs if name in ("src", "href"))
            if tag not in ("meta", "polyline", "circle", "line"):
                opened.append(tag)

        def handle_endtag(self, tag: str) -> None:
            if tag not in ("polyline", "circle", "line"):
                assert opened.pop() == tag

    text = page(REPORT, JOURNAL)
    Reader().feed(text)
    assert not opened
    assert not addresses
    assert "runs/&lt;a&gt;" in text
    assert text.count("<svg") == 3


def test_a_run_without_validation_has_a_page_too() -> None:
    bare = {
        **REPORT,
        "retention": None,
        "task": {},
        "best_step": None,
        "validation_loss": {"before": None, "best": None},
    }
    assert "not measured" in page(bare, [{"step": 1, "loss": 1.0}])
    assert "**Gained:** not measured" in card(bare, base=None, adapter=False)


def test_the_card_is_the_hubs_markdown() -> None:
    lines = card(REPORT, base="org/tiny", adapter=True).splitlines()
    assert lines[:4] == ["---", "library_name: peft", "pipeline_tag: text-generation", "base_model: org/tiny"]
    assert "- **Gained:** validation loss 2.0000 → 0.5000; exact_match 0.1000 → 0.9000" in lines


def test_a_curve_begins_with_what_was_measured_before_the_first_step() -> None:
    text = page(REPORT, JOURNAL)
    of_task = text[text.index("<h2>exact_match") :]
    points = of_task[of_task.index('points="') + 8 :].split('"')[0].split()
    assert len(points) == 2
    assert points[0].startswith(f"{MARGIN:.1f},")
