"""The verb compare: from models and from what an evaluation kept."""

import json
from pathlib import Path
from typing import Any

import pytest
from chat_server import chat_server

from tunesmith.cli import main
from tunesmith.errors import UsageError
from tunesmith.evaluation.item import Item
from tunesmith.generation.settings import GenerationSettings
from tunesmith.run.compare import Asking, answers_of, compare_models, written_answers
from tunesmith.run.evaluate import Evaluation, evaluate, evaluate_tasks


def quiet(text: str) -> None:
    """Say nothing."""


def test_a_model_does_not_differ_from_itself(run: Path, folder: Path, chats: Path, tmp_path: Path) -> None:
    kept = tmp_path / "kept"
    evaluate(str(run), str(chats), metrics=["loss"], out=kept, say=quiet)
    names = [str(kept), str(run), str(folder)]
    against_itself, against_base = compare_models(names, str(chats), asking=Asking(["loss"]), say=quiet).comparisons[
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
    with pytest.raises(UsageError, match="likelihoods, which an endpoint"):
        compare_models([names[0], "http://host/v1#m"], None, tasks=[str(task)], say=quiet)
    found = compare_models(names, None, tasks=[str(task)], say=said.append)
    assert sum(line.startswith("model: ") for line in said) == 1
    ((one,),) = found.comparisons[str(task)]
    assert (one.metric, one.items) == ("choice", 4)
    known = tmp_path / "mmlu.jsonl"
    known.write_bytes(chats.read_bytes())
    monkeypatch.setattr("tunesmith.run.compare._of_tasks", lambda name, tasks, *_: {"mmlu": [Item("A", "A")]})
    both = compare_models(
        [str(folder), str(run)], str(known), tasks=["mmlu"], asking=Asking(["exact_match"]), say=quiet
    )
    assert list(both.comparisons) == ["mmlu", "mmlu.jsonl"]
    assert both.comparisons["mmlu"][0][0].items == 1


WRITTEN = {
    "name": "letters", "version": 1, "says": "s", "data": "rows.jsonl", "prompt": "Q: {{ q }}", "answer": "{{ a }}",
    "shots": {"rows": [{"q": "x", "a": "A"}, {"q": "y", "a": "B"}], "count": 1}, "max_new_tokens": 5, "until": ["\n"],
}  # fmt: skip


@pytest.fixture
def written(tmp_path: Path) -> str:
    """A benchmark whose answers are written."""
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps({"q": i, "a": "AB"[i % 2]}) + "\n" for i in range(4)))
    (tmp_path / "letters.yaml").write_text(json.dumps(WRITTEN))
    return str(tmp_path / "letters.yaml")


def test_an_endpoint_answers_a_benchmark_of_written_answers_with_as_many_tokens(folder: Path, written: str) -> None:
    with chat_server(lambda body: "A\nQ: next") as server:
        names = [str(folder), f"{server.url}#m"]
        asking = Asking(shots=2, limit=3)
        found = compare_models(names, None, tasks=[written], asking=asking, say=quiet)
        assert {body["max_tokens"] for body in server.asked} == {5}
        both = written_answers(names, written, asking=asking, say=quiet)
    ((one,),) = found.comparisons[written]
    assert (one.metric, one.items, one.right) == ("exact_match", 3, pytest.approx(2 / 3))
    here, there = found.answered[written]
    assert [item.prompt for item in here] == [item.prompt for item in there]
    assert there[0].prompt.startswith("Q: x A\n\nQ: y B\n\nQ: 0")
    assert [item.answer for item in both[1]] == ["A"] * 3


def test_models_here_and_endpoints_may_write_the_same_number_of_tokens(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = tmp_path / "long.jsonl"
    data.write_text('{"prompt": "ab", "completion": "%s"}\n' % ("é" * 30) + '{"prompt": "b", "completion": "c"}\n')
    seen: list[GenerationSettings | None] = []

    def spied(*given: Any, settings: GenerationSettings | None, **named: Any) -> Evaluation:
        seen.append(settings)
        return evaluate(*given, settings=settings, **named)

    monkeypatch.setattr("tunesmith.run.compare.evaluate", spied)
    with chat_server(lambda body: "c") as server:
        names = [str(folder), f"{server.url}#m"]
        answers_of(names, str(data), asking=Asking(), say=quiet)
        answers_of(names, str(data), asking=Asking(settings=GenerationSettings(max_new_tokens=7)), say=quiet)
        assert [body["max_tokens"] for body in server.asked] == [60, 60, 7, 7]
        with pytest.raises(UsageError, match="loss asks for likelihoods"):
            compare_models(names, str(data), asking=Asking(["loss"]), say=quiet)
    assert [settings and settings.max_new_tokens for settings in seen] == [60, 7]


def test_what_was_answered_is_kept_so_that_it_can_be_compared_again(
    folder: Path, run: Path, chats: Path, written: str, tmp_path: Path
) -> None:
    names = [str(folder), str(run)]
    found = compare_models(names, str(chats), tasks=[written], out=tmp_path / "kept", say=quiet)
    said: list[str] = []
    kept = [str(tmp_path / "kept" / number) for number in "12"]
    again = compare_models(kept, None, tasks=[written], say=said.append)
    assert again.comparisons[written] == found.comparisons[written]
    assert said == []
    lines = [json.loads(line) for line in (tmp_path / "kept" / "compared.jsonl").read_text().splitlines()]
    assert {(line["task"], line["against"], line["model"]) for line in lines} == {
        (written, *names), (chats.name, *names),
    }  # fmt: skip
    whole = compare_models(kept, None, asking=Asking(limit=4), say=said.append)
    assert [len(items) for items in whole.answered["kept"]] == [4, 4]


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--blind", "--task", "mmlu"], "nothing written to vote on"),
        (["--blind", "--task", "gsm8k", "--data", "x"], "one thing"),
        (["c", "--blind", "--data", "x"], "between two, A and B"),
        (["--shots", "2", "--data", "x"], "--shots goes with --task"),
        (["max_new_tokens=3", "--task", "gsm8k"], "settings go with --data"),
        (["max_new=3", "--data", "x"], "max_new_tokens"),
    ],
)
def test_what_does_not_go_together_is_told(words: list[str], told: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main.run(["compare", "a", "b", *words]) == 2
    assert told in " ".join(capsys.readouterr().err.split())
