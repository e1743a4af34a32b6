"""The model card: what the hub reads of a run, and what people do."""

from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from tunesmith.data.settings import DataSettings
from tunesmith.models.packages import PACKAGE_MODELS
from tunesmith.models.sources import Source
from tunesmith.run.card import card
from tunesmith.run.report import _files, licence

SCORE = {"value": 0.1, "low": 0.05, "high": 0.2, "items": 40}
PAIR = {
    "before": SCORE, "after": {**SCORE, "value": 0.9}, "difference": 0.8, "low": 0.7, "high": 0.85, "p": 1e-9,
    "better": "tuned",
}  # fmt: skip
REPORT: dict[str, Any] = {
    "run": "runs/a", "model": {"name": "tiny", "hub_id": "org/tiny", "licence": "gemma"},
    "method": {"kind": "lora", "rank": 4}, "steps": 8, "ended": "done", "best_step": 4, "tokens": 900,
    "parameters": {"total": 1000, "trained": 10}, "computed_tokens": 300,
    "data": {
        "files": {"train": ["hub:org/set:train", "more.jsonl"], "test": ["test.jsonl"]}, "format": "messages",
        "read": 12, "dropped": {}, "train": 10, "validation": 2, "test": 40, "findings": {},
    },
    "validation_loss": {"before": 2.0, "best": 0.5}, "task": {"task_exact_match": {"before": 0.2, "best": 0.8}},
    "gains": {"on": "test", "of": 40, "examples": 40, "seconds": 2.0, "numbers": {"task_exact_match": PAIR}},
    "retention": None, "training_seconds": 10.0, "seconds": 12.0, "peak_bytes": 2**30, "device": "cpu",
    "versions": {"torch": "2"},
}  # fmt: skip


def head(report: dict[str, Any]) -> dict[str, Any]:
    """What the hub reads of a card."""
    found: dict[str, Any] = YAML(typ="safe", pure=True).load(card(report).split("---")[1])
    return found


def test_the_hub_reads_the_licence_the_base_and_the_data() -> None:
    assert head(REPORT) == {
        "library_name": "peft", "pipeline_tag": "text-generation", "license": "gemma", "base_model": "org/tiny",
        "datasets": ["org/set"], "tags": ["tunesmith"],
    }  # fmt: skip
    named = head({**REPORT, "model": {"name": "tiny", "licence": "other: house-rules"}, "method": {"kind": "full"}})
    assert (named["license"], named["license_name"]) == ("other", "house-rules")
    assert named["library_name"] == "transformers"
    assert "base_model" not in named
    assert "license" not in head({**REPORT, "model": {"name": "tiny", "licence": None}})


def test_every_metric_stands_with_its_intervals_and_where_it_was_measured() -> None:
    lines = card(REPORT).splitlines()
    assert "| on the test set | base | this model | difference | p | items |" in lines
    sides = "0.1000 [0.0500, 0.2000] | 0.9000 [0.0500, 0.2000]"
    assert f"| exact_match | {sides} | +0.8000 [+0.7000, +0.8500] | < 0.001 | 40 |" in lines
    assert "- validation loss 2.0000 → 0.5000 (where the model was chosen)" in lines
    assert "| files | train: hub:org/set:train, more.jsonl; test: test.jsonl |" in lines
    chosen = card({**REPORT, "gains": {**REPORT["gains"], "on": "validation"}})
    assert "on the validation set, where the model was chosen |" in chosen


def test_a_run_that_measured_nothing_says_so() -> None:
    bare = {**REPORT, "gains": None, "task": {}, "validation_loss": {"before": None, "best": None}}
    assert card(bare).count("- not measured") == 2


def test_what_an_audit_found_stands_on_the_card() -> None:
    assert "Beside the task" not in card(REPORT)
    found = {"before": SCORE, "after": SCORE, "p": 0.01, "warning": "worse | than\nbefore"}
    assert (
        "| harmful refused | 10.0% [5.0%, 20.0%] | 10.0% [5.0%, 20.0%] | 0.010 | warning: worse \\| than before |"
        in (card({**REPORT, "audit": {"harmful_refused": found}}))
    )


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("---\nlicense: Apache-2.0\n---\n", "apache-2.0"), ('---\nlicense: "mit"\ntags: []\n---\n', "mit"),
        ("---\nlicense:\n- mit\n---\n", "mit"), ("---\nlicense: other\nlicense_name: rules-1\n---\n", "other: rules-1"),
        ("---\ntags: []\n---\nlicense: none of it\n", None), ("license: none of it", None),
    ],
)  # fmt: skip
def test_a_licence_is_what_the_models_own_card_says(text: str, found: str | None, tmp_path: Path) -> None:
    (tmp_path / "README.md").write_text(text)
    assert licence(Source(tmp_path, "x", None, None, "")) == found


def test_every_model_that_comes_along_has_a_licence_of_the_hub(tmp_path: Path) -> None:
    known = {m.name: licence(Source(tmp_path, m.name, m.hub_id, None, "")) for m in PACKAGE_MODELS.values()}
    assert known == {"smollm2-135m-instruct": "apache-2.0", "gemma3-270m": "gemma"}


def test_data_have_names_but_no_places() -> None:
    data = DataSettings(train=("/home/me/a.jsonl", "hub:org/set:train"), validation=0.1, test="secret/b.jsonl")
    assert _files(data) == {"train": ["a.jsonl", "hub:org/set:train"], "test": ["b.jsonl"]}
