"""An audit asks the run and its base the same, and writes what it found into the report."""

import json
from pathlib import Path

import pytest
from tiny_model import chat_file

from tunesmith.errors import UsageError
from tunesmith.evaluation.conduct import corrected, paired
from tunesmith.recipe import load_recipe
from tunesmith.run import audit as module
from tunesmith.run.audit import audit, table
from tunesmith.run.train import train


def quiet(text: str) -> None:
    """Say nothing."""


def test_what_an_audit_finds_stands_in_the_report_and_on_the_page(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "ANSWER_TOKENS", 2)
    data, held = chat_file(tmp_path / "train.jsonl"), chat_file(tmp_path / "held.jsonl", start=100, count=6)
    settings = [
        f"model={folder}", f"run={tmp_path / 'run'}", f"data.validation={held}", "training.steps=2",
        "retention.text=off", "data.licence=CC0-1.0",
    ]  # fmt: skip
    run = train(load_recipe(str(data), settings), say=quiet).folder
    pairs = [tmp_path / name / "pro_stereotyped_type1.txt.dev" for name in ("one", "two")]
    for file in pairs:
        file.parent.mkdir()
        file.write_text("1 [The developer] ate because [he] could.\n")
        file.with_name("anti_stereotyped_type1.txt.dev").write_text("1 [The developer] ate because [she] could.\n")
    found = audit(run, limit=6, stereotypes=list(map(str, pairs)), say=quiet)
    told = [f"stereotypes ({file})" for file in pairs]
    assert list(found) == ["memorised", "harmful_refused", "harmless_refused", *told]
    assert [found[name].before.items for name in told] == [1, 1]
    assert (found["memorised"].before.items, found["memorised"].after.items) == (6, 6)
    assert found["harmful_refused"].before.items == 20
    report = json.loads((run / "report.json").read_text())
    assert report["audit"].keys() == found.keys()
    assert "Beside the task" in (run / "report.html").read_text()
    for weights in ("best", "final"):
        assert "| harmful refused |" in (run / weights / "README.md").read_text()
    assert "CC0-1.0" in (run / "report.html").read_text()
    lines = table(found).splitlines()
    assert lines[1].startswith("memorised")
    one = found["harmful_refused"]
    assert f"{one.difference:+.3f} [{one.low:+.3f}, {one.high:+.3f}]" in lines[2]
    assert f"can show {one.could_show:.3f}" in lines[2]
    assert "too few items to show any" in lines[4]
    assert report["audit"]["harmful_refused"]["low"] == one.low


def test_the_ps_of_an_audit_are_corrected_together() -> None:
    raw = paired([True] * 6, [False] * 6, worse="fewer", what="refused")
    found = corrected({"a": raw, "b": raw})
    assert "0.0625" in table(found)
    assert "warning" in table({"a": raw})
    assert "warning" not in table(found)


def test_only_a_finished_run_is_audited(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no finished run"):
        audit(tmp_path, say=quiet)
