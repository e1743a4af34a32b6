"""What a check knows of a model and of the machine is remembered, and torch is not needed to know it again."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tunesmith.run.check import check
from tunesmith.run.facts import Facts, facts, speed
from tunesmith.run.resolve import Shapes


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("TUNESMITH_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


def config(folder: Path, **changed: object) -> Path:
    about = {"model_type": "llama", "hidden_size": 8, "intermediate_size": 16, "num_hidden_layers": 2, "vocab_size": 50}
    about["num_attention_heads"] = about["num_key_value_heads"] = 2
    (folder / "config.json").write_text(json.dumps({**about, "max_position_embeddings": 64, **changed}))
    return folder


def test_the_facts_follow_the_configuration(tmp_path: Path) -> None:
    first = facts(config(tmp_path))
    assert first == facts(tmp_path) == Facts(64, 50, Shapes(2, 8, 16))
    assert facts(config(tmp_path, max_position_embeddings=128)).context == 128


def test_of_two_measured_speeds_the_higher_one_is_remembered(home: Path) -> None:
    asked = iter([5.0, 3.0, 7.0])
    assert [speed("product", lambda: next(asked)) for _ in range(3)] == [5.0, 5.0, 7.0]
    assert speed("another", lambda: 1.0) == 1.0


def test_where_nothing_can_be_written_it_is_asked_each_time(home: Path) -> None:
    home.write_text("a file where the folder should be")
    asked = iter([5.0, 3.0])
    assert [speed("product", lambda: next(asked)) for _ in range(2)] == [5.0, 3.0]


def test_a_second_check_needs_neither_torch_nor_transformers(folder: Path, tmp_path: Path) -> None:
    rows = [{"prompt": f"what is {i}", "completion": f"it is {i}"} for i in range(20)]
    data = tmp_path / "data.jsonl"
    data.write_text("".join(json.dumps(row) + "\n" for row in rows))
    check([str(data)], model=str(folder))
    program = (
        "import sys; from tunesmith.run.check import check; "
        f"check([{str(data)!r}], model={str(folder)!r}); print('torch' in sys.modules, 'transformers' in sys.modules)"
    )
    said = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert said.stdout.split() == ["False", "False"], said.stderr
