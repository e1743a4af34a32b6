"""What `tunesmith evaluate` prints."""

import json
import math
from pathlib import Path

import pytest

from tunesmith.cli.main import run
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
