import json
import math
from pathlib import Path
from typing import Any

import pytest
import torch

from tunesmith.errors import DataError, UsageError
from tunesmith.evaluation.execution import ALLOWED, containment
from tunesmith.evaluation.item import load_items
from tunesmith.evaluation.metrics import METRICS, score
from tunesmith.generation.settings import GenerationSettings
from tunesmith.run.evaluate import Evaluation, evaluate, evaluate_labels, evaluate_tasks
from tunesmith.run.opened import open_model


def quietly(model: Path, data: Path, **given: Any) -> Evaluation:
    return evaluate(str(model), str(data), say=lambda _: None, **given)


def test_the_result_names_task_metric_and_interval(folder: Path, chats: Path) -> None:
    found = quietly(folder, chats, metrics=["exact_match", "ends_properly"], limit=4).as_dict()
    assert list(found) == ["words"]
    assert list(found["words"]) == ["exact_match", "ends_properly"]
    assert found["words"]["exact_match"].keys() == {"value", "low", "high", "items"}
    assert found["words"]["exact_match"]["items"] == 4


def test_the_loss_is_that_of_transformers_on_the_reference(folder: Path, chats: Path) -> None:
    opened = open_model(str(folder), say=lambda _: None)
    nats, targets = 0.0, 0
    for example in opened.read(str(chats)).examples:
        prompt = opened.encoder.prompt(example.messages[:-1])  # type: ignore[union-attr]
        encoded = opened.encoder.encode(example)  # type: ignore[arg-type]
        ids = torch.tensor([encoded.ids.tolist()])
        length = int((encoded.weights > 0).sum())
        with torch.no_grad():
            logits = opened.model(input_ids=ids).logits[0].log_softmax(-1)
        for place in range(len(prompt), len(prompt) + length):
            nats -= float(logits[place - 1, ids[0, place]])
        targets += length
    found = quietly(folder, chats, metrics=["loss", "perplexity"]).scores["words"]
    assert found["loss"].value == pytest.approx(nats / targets, rel=1e-5)
    assert found["perplexity"].value == pytest.approx(math.exp(nats / targets), rel=1e-5)


def test_the_score_file_holds_every_item_and_scores_again_the_same(folder: Path, chats: Path, tmp_path: Path) -> None:
    found = quietly(folder, chats, metrics=["token_f1", "loss"], out=tmp_path)
    items = load_items(tmp_path / "scores.jsonl")
    assert [item.reference for item in items] == ["5", "4", "4", "3", "4", "4"]
    assert score(METRICS["token_f1"], items) == found.scores["words"]["token_f1"]
    kept = json.loads((tmp_path / "evaluation.json").read_text())
    assert kept == found.as_record()
    assert kept["words"]["token_f1"] == {**found.as_dict()["words"]["token_f1"], "version": METRICS["token_f1"].version}


def test_weights_of_turns_and_examples_do_not_change_a_score(folder: Path, chats: Path, tmp_path: Path) -> None:
    rows = [json.loads(line) for line in chats.read_text().splitlines()]
    for row in rows:
        row["messages"][-1]["weight"] = 3
    weighted = tmp_path / "words.jsonl"
    weighted.write_text("\n".join(map(json.dumps, rows)))
    assert quietly(folder, weighted, metrics=["loss"]) == quietly(folder, chats, metrics=["loss"])


def test_the_last_answer_is_the_reference_even_if_a_question_follows(folder: Path, tmp_path: Path) -> None:
    turns = [{"role": r, "content": c} for r, c in zip(("user", "assistant") * 2, "abcd", strict=False)]
    data = tmp_path / "turns.jsonl"
    data.write_text(json.dumps({"messages": [*turns, {"role": "user", "content": "e"}]}))
    found = quietly(folder, data, metrics=["exact_match"])
    assert [(item.prompt, item.reference) for item in found.items["turns"]] == [("c", "d")]


def test_plain_text_is_scored_by_its_likelihood(folder: Path, tmp_path: Path) -> None:
    data = tmp_path / "text.txt"
    data.write_text("abc " * 300)
    found = quietly(folder, data)
    assert list(found.scores["text"]) == ["loss", "perplexity", "bits_per_byte"]
    bits = found.scores["text"]["loss"].value * found.items["text"][0].targets / math.log(2)
    assert found.scores["text"]["bits_per_byte"].value == pytest.approx(bits / len(found.items["text"][0].reference))


def test_what_is_measured_is_said_aloud(folder: Path, chats: Path) -> None:
    said: list[str] = []
    evaluate(str(folder), str(chats), limit=2, settings=GenerationSettings(max_new_tokens=3), say=said.append)
    assert said[1].startswith("metrics: exact_match v1, token_f1 v1, ends_properly v1")
    assert said[2] == "answers: up to 3 tokens, temperature 0 (as asked)"


def test_a_misspelled_metric_is_told_before_anything_is_opened(chats: Path) -> None:
    with pytest.raises(UsageError, match="Did you mean accuracy"):
        evaluate("no such model", str(chats), metrics=["acuracy"])


def test_a_metric_that_the_data_do_not_suit_is_refused_before_anything_is_answered(
    folder: Path, chats: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tunesmith.run.evaluate.items_of", lambda *_, **__: pytest.fail("it was answered"))
    monkeypatch.setattr("tunesmith.run.evaluate.benchmark.items", lambda *_, **__: pytest.fail("it was answered"))
    for name in ("choice", "choice_normalised", "calibration_error", "json_fields", "instructions_each", "code_runs"):
        with pytest.raises(UsageError, match=f"{name}: the items lack what it needs .* 6 of 6 lack"):
            quietly(folder, chats, metrics=[name])
    text = tmp_path / "text.txt"
    text.write_text("abc " * 300)
    with pytest.raises(UsageError, match="1 of 1 examples have nothing to answer"):
        quietly(folder, text, metrics=["exact_match"])
    (tmp_path / "rows.jsonl").write_text('{"q": 1, "a": "2"}\n')
    task = {"name": "n", "version": 1, "says": "s", "data": "rows.jsonl", "prompt": "{{ q }}", "answer": "{{ a }}"}
    (tmp_path / "n.yaml").write_text(json.dumps(task))
    with pytest.raises(UsageError, match=r"loss: the items lack .* likelihood"):
        evaluate_tasks(str(folder), [str(tmp_path / "n.yaml")], metrics=["loss"], say=lambda _: None)


def test_tasks_and_labels_tell_their_metrics_with_versions(folder: Path, chats: Path, tmp_path: Path) -> None:
    (tmp_path / "rows.jsonl").write_text('{"q": 1, "a": "A", "s": "x"}\n{"q": 2, "a": "B", "s": "y"}\n')
    task = {"data": "rows.jsonl", "prompt": "{{ q }}", "answer": "{{ a }}", "options": ["A", "B"]}
    named = tmp_path / "letters.yaml"
    named.write_text(json.dumps({"name": "letters", "version": 3, "says": "s", **task}))
    said: list[str] = []
    evaluate_tasks(str(folder), [str(named)], out=tmp_path / "kept", say=said.append)
    assert said[-1].endswith("letters.yaml v3: 2 questions; s; metrics: choice v1, calibration_error v1")
    kept = json.loads((tmp_path / "kept" / "evaluation.json").read_text())[str(named)]["choice"]
    assert (kept["version"], kept["task_version"]) == (1, 3)
    found = evaluate_labels(str(folder), str(chats), "auto", out=tmp_path / "labels", say=said.append)
    classes = json.loads((tmp_path / "labels" / "classes.json").read_text())["words"]
    assert [(one["label"], one["support"]) for one in classes] == [("3", 1), ("4", 4), ("5", 1)]
    assert not (tmp_path / "kept" / "classes.json").exists()
    assert said[-1].endswith("is the answer; metrics: choice v1, f1_macro v1, calibration_error v1")
    assert found.as_record()["words"]["choice"]["version"] == 1


@pytest.mark.whole
def test_how_the_code_of_answers_is_contained_is_said_aloud(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(ALLOWED, "1")
    monkeypatch.setattr("tunesmith.evaluation.execution._level", lambda: "near")
    (tmp_path / "rows.jsonl").write_text('{"q": "x = 1", "a": "assert x == 2"}\n')
    task = {"data": "rows.jsonl", "prompt": "{{ q }}", "answer": "{{ a }}", "max_new_tokens": 2}
    (tmp_path / "code.yaml").write_text(json.dumps({"name": "code", "version": 1, "says": "s", **task}))
    said: list[str] = []
    found = evaluate_tasks(str(folder), [str(tmp_path / "code.yaml")], metrics=["code_runs"], say=said.append)
    assert said[-1].endswith(f"metrics: code_runs v2; answers run {containment()}")
    assert [of["code_runs"].value for of in found.scores.values()] == [0.0]


def test_references_that_are_none_of_the_labels_are_told_and_white_space_around_one_is_not(
    folder: Path, tmp_path: Path
) -> None:
    rows = [{"prompt": f"word {i}", "completion": text} for i, text in enumerate((" yes", " no", " maybe"))]
    (tmp_path / "rows.jsonl").write_text("\n".join(map(json.dumps, rows)))
    (tmp_path / "labels.txt").write_text("yes\nno\n")
    said: list[str] = []
    names = (str(folder), str(tmp_path / "rows.jsonl"), str(tmp_path / "labels.txt"))
    found = evaluate_labels(*names, metrics=["choice"], say=said.append)
    assert said[-1].endswith("; 1 of 3 references are none of the labels, so they count as wrong")
    assert [item.reference for item in found.items["rows"]] == ["yes", "no", "maybe"]


def test_labels_among_which_no_reference_stands_are_refused(folder: Path, chats: Path, tmp_path: Path) -> None:
    (tmp_path / "labels.txt").write_text("five\nfour\n")
    with pytest.raises(UsageError, match=r"choice: .*no reference is one of the options.*\['five', 'four'\] for '5'"):
        evaluate_labels(str(folder), str(chats), str(tmp_path / "labels.txt"), metrics=["choice"], say=lambda _: None)


def test_an_example_longer_than_the_context_is_refused(folder: Path, tmp_path: Path) -> None:
    data = tmp_path / "long.jsonl"
    data.write_text(json.dumps({"prompt": "a" * 600, "completion": "b"}))
    with pytest.raises(DataError, match=r"long\.jsonl:1: prompt and reference have"):
        quietly(folder, data)
