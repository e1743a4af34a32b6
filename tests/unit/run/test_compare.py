"""The verb compare: from models and from what an evaluation kept."""

import json
from pathlib import Path

import pytest

from tunesmith.cli import main
from tunesmith.errors import UsageError
from tunesmith.evaluation.item import Item
from tunesmith.run.compare import compare_models
from tunesmith.run.evaluate import evaluate, evaluate_tasks


def quiet(text: str) -> None:
    """Say nothing."""


def test_a_model_does_not_differ_from_itself(run: Path, folder: Path, chats: Path, tmp_path: Path) -> None:
    kept = tmp_path / "kept"
    evaluate(str(run), str(chats), metrics=["loss"], out=kept, say=quiet)
    names = [str(kept), str(run), str(folder)]
    against_itself, against_base = compare_models(names, str(chats), metrics=["loss"], say=quiet).comparisons[
        chats.name
    ]
    assert [c.difference for c in against_itself] == [0.0]
    assert [c.better for c in against_itself] == [None]
    assert against_base[0].difference != 0.0


def test_one_name_alone_and_a_model_without_data_are_refused(folder: Path) -> None:
    with pytest.raises(UsageError, match="two or more"):
        compare_models([str(folder)], None, say=quiet)
    with pytest.raises(UsageError, match="--data"):
        compare_models([str(folder), str(folder)], None, say=quiet)


def test_benchmarks_are_compared_together_and_kept_answers_are_not_asked_again(
    run: Path, folder: Path, chats: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps({"q": i, "a": "AB"[i % 2]}) + "\n" for i in range(4)))
    task = tmp_path / "letters.yaml"
    fields = {"data": "rows.jsonl", "prompt": "Q: {{ q }}", "answer": "{{ a }}", "options": ["A", "B"]}
    task.write_text(json.dumps({"name": "letters", "version": 1, "says": "s", **fields}))
    evaluate_tasks(str(folder), [str(task)], out=tmp_path / "kept", say=quiet)
    said: list[str] = []
    names = [str(tmp_path / "kept"), str(run)]
    with pytest.raises(UsageError, match="endpoint"):
        compare_models([names[0], "http://host/v1#m"], None, tasks=[str(task)], say=quiet)
    found = compare_models(names, None, tasks=[str(task)], say=said.append)
    assert sum(line.startswith("model: ") for line in said) == 1
    ((one,),) = found.comparisons[str(task)]
    assert (one.metric, one.items) == ("choice", 4)
    known = tmp_path / "mmlu.jsonl"
    known.write_bytes(chats.read_bytes())
    monkeypatch.setattr("tunesmith.run.compare._of_tasks", lambda name, tasks, *_: {"mmlu": [Item("A", "A")]})
    both = compare_models([str(folder), str(run)], str(known), tasks=["mmlu"], metrics=["exact_match"], say=quiet)
    assert list(both.comparisons) == ["mmlu", "mmlu.jsonl"]
    assert both.comparisons["mmlu"][0][0].items == 1


def test_a_blind_vote_on_a_benchmark_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert main.run(["compare", "a", "b", "--blind", "--task", "mmlu"]) == 2
    assert "Give --data." in capsys.readouterr().err
