from html.parser import HTMLParser
from typing import Any

from tunesmith.run.page import MARGIN, page, pair

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


def test_what_the_test_set_says_stands_before_what_the_model_was_chosen_on() -> None:
    score = {"value": 0.1, "low": 0.0, "high": 0.2, "items": 40}
    one = {
        "before": score, "after": {**score, "value": 0.9}, "difference": 0.8, "low": 0.7, "high": 0.85, "p": 1e-9,
        "better": "tuned",
    }  # fmt: skip
    told = {"on": "test", "of": 90, "examples": 40, "seconds": 2.0, "numbers": {"task_exact_match": one}}
    said = "exact_match 0.1000 → 0.9000 (+0.8000 [+0.7000, +0.8500], p < 0.001; 40 questions"
    assert pair({**REPORT, "gains": told})[0] == [
        f"{said} on the test set)",
        "validation loss 2.0000 → 0.5000 (where the model was chosen)",
        "exact_match 0.1000 → 0.9000 (validation, where the model was chosen)",
    ]
    assert "40 of 90 examples" in page({**REPORT, "gains": told}, JOURNAL)
    untested = pair({**REPORT, "gains": {**told, "on": "validation"}})[0]
    assert untested == [
        "validation loss 2.0000 → 0.5000",
        f"{said} of the validation set, where the model was chosen)",
    ]


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


def test_the_text_that_the_base_wrote_is_timed_apart() -> None:
    assert "1.5 s, text: auto</dd>" in page(REPORT, JOURNAL)
    kept = {**REPORT["retention"], "writing_seconds": 40.0}
    assert "1.5 s, text: auto; before that the base wrote it in 40.0 s" in page({**REPORT, "retention": kept}, JOURNAL)


def test_a_run_without_validation_has_a_page_too() -> None:
    bare = {
        **REPORT,
        "retention": None,
        "task": {},
        "best_step": None,
        "validation_loss": {"before": None, "best": None},
    }
    assert "not measured" in page(bare, [{"step": 1, "loss": 1.0}])


def test_what_is_lost_on_the_bases_own_text_is_called_an_estimate_of_kl() -> None:
    assert "an estimate of KL(base ‖ tuned))</h2>" in page(REPORT, JOURNAL)
    of_file = {**REPORT["retention"], "text": "general.txt"}
    assert "an estimate of KL" not in page({**REPORT, "retention": of_file}, JOURNAL)


def test_a_curve_begins_with_what_was_measured_before_the_first_step() -> None:
    text = page(REPORT, JOURNAL)
    of_task = text[text.index("<h2>exact_match") :]
    points = of_task[of_task.index('points="') + 8 :].split('"')[0].split()
    assert len(points) == 2
    assert points[0].startswith(f"{MARGIN:.1f},")
