"""What `tunesmith evaluate` prints."""

import json
import math
from pathlib import Path

import pytest

from tunesmith.cli.evaluate import MOST_CLASSES
from tunesmith.cli.main import run
from tunesmith.evaluation.item import Item
from tunesmith.evaluation.metrics import Score
from tunesmith.run.evaluate import Evaluation


def test_json_has_no_value_where_there_is_no_number(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    found = Evaluation({"words": {"perplexity": Score(math.inf, math.nan, math.inf, 2)}}, {"words": []})
    monkeypatch.setattr("tunesmith.run.evaluate.evaluate", lambda *_, **__: found)
    assert run(["evaluate", "model", "--data", str(tmp_path / "words.jsonl"), "--json"]) == 0
    nothing = {"value": None, "low": None, "high": None, "items": 2}
    assert json.loads(capsys.readouterr().out, parse_constant=pytest.fail) == {"words": {"perplexity": nothing}}


def test_classes_are_listed_where_they_are_few(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def printed(classes: int) -> list[str]:
        items = [Item("label 0", f"label {i}") for i in range(classes)]
        found = Evaluation({"words": {"accuracy": Score(0.5, 0.1, 0.9, classes)}}, {"words": items})
        monkeypatch.setattr("tunesmith.run.evaluate.evaluate", lambda *_, **__: found)
        assert run(["evaluate", "model", "--data", str(tmp_path / "words.jsonl")]) == 0
        return capsys.readouterr().out.splitlines()

    assert [line.split() for line in printed(2)[-3:]] == [
        ["class", "precision", "recall", "f1", "support"],
        ["label", "0", "0.5000", "1.0000", "0.6667", "1"],
        ["label", "1", "0.0000", "0.0000", "0.0000", "1"],
    ]
    assert printed(MOST_CLASSES + 1)[-1] == "31 classes: --out DIR keeps each one in classes.json"
