"""Answers in the report: the first ones, beside base and reference, and the confusion of labels."""

from pathlib import Path
from typing import Any

from tiny_model import chat_file

from tunesmith.evaluation.item import Item
from tunesmith.recipe import load_recipe
from tunesmith.run.showing import EXCERPT, MOST_LABELS, SHOWN, answers, keep_samples, sections, settings
from tunesmith.run.train import resume, train

ITEMS = [
    Item(answer, reference, prompt=f"q{i}")
    for i, (answer, reference) in enumerate([("a", "a"), ("b", "a"), ("b", "b"), ("c", "b")] * 3)
]


def test_samples_stand_beside_what_the_base_answered_before(tmp_path: Path) -> None:
    keep_samples(tmp_path, [Item("base", item.reference) for item in ITEMS])
    keep_samples(tmp_path, [Item("later", item.reference) for item in ITEMS])
    found = answers(tmp_path, ITEMS)
    samples = found["samples"]
    assert isinstance(samples, list)
    assert len(samples) == SHOWN
    assert samples[1] == {"prompt": "q1", "reference": "a", "base": "base", "tuned": "b"}


def test_the_confusion_counts_labels_and_what_is_none_of_them(tmp_path: Path) -> None:
    assert answers(tmp_path, ITEMS)["confusion"] == {"labels": ["a", "b"], "counts": [[3, 3, 0], [0, 3, 3]]}
    assert "confusion" not in answers(tmp_path, [Item("long text", f"text {i}") for i in range(9)])
    assert answers(tmp_path, [Item("", "a")]) == {}


def test_of_a_large_confusion_the_labels_that_are_confused_most_are_shown_and_it_says_so(tmp_path: Path) -> None:
    names = [f"label {i:02}" for i in range(MOST_LABELS + 1)]
    items = [Item(name, name) for name in names for _ in range(4)]
    items += [Item(names[30], names[40])] * 3 + [Item(names[7], names[30]), Item("?", names[40])]
    found: Any = answers(tmp_path, items)["confusion"]
    assert len(found["labels"]) == EXCERPT
    assert {names[7], names[30], names[40]} <= set(found["labels"])
    assert found["labels"] == sorted(found["labels"])
    assert (found["of_labels"], len(found["counts"][0])) == (41, EXCERPT + 2)
    assert sum(found["counts"][found["labels"].index(names[40])]) == 8
    text = "".join(sections({"confusion": found}))
    assert "the 20 of 41 labels that are confused most often" in text
    assert "another label" in text


def test_what_was_answered_cannot_run_in_the_page() -> None:
    bad = "<script>"
    score = {"value": 0.5, "low": 0.1, "high": 0.9}
    report = {
        "samples": [dict.fromkeys(("prompt", "reference", "base", "tuned"), bad)],
        "confusion": {"labels": [bad, "b"], "counts": [[1, 0, 0], [0, 2, 1]]},
        "audit": {
            "memorised": {
                "before": score,
                "after": score,
                "difference": 0.25,
                "low": -0.1,
                "high": 0.6,
                "p": 0.01,
                "could_show": None,
                "warning": bad,
            }
        },
    }
    text = "".join(sections(report))
    assert bad not in text
    assert "none of them" in text
    assert "50.0% [10.0%, 90.0%]" in text
    assert "+25.0% [-10.0%, +60.0%]" in text
    assert "nothing: too few" in text
    assert "".join(sections({})) == ""


def test_every_setting_stands_on_the_page_with_its_origin() -> None:
    recipe = """# The resolved recipe.
#   torch: 2
model: tiny  # command line
data:
  train: "a # b.jsonl"  # recipe.yaml:3
training:
  steps: 8  # default
  optimizer:
    beta1: 0.8  # resolved: <why>
  warmup: 0.1  # command line
"""
    text = "".join(settings(recipe))
    assert "<td>model</td><td>tiny</td><td>command line</td>" in text
    assert "<td>data.<wbr>train</td><td>&quot;a # b.jsonl&quot;</td><td>recipe.yaml:3</td>" in text
    assert "<td>training.<wbr>optimizer.<wbr>beta1</td><td>0.8</td><td>resolved: &lt;why&gt;</td>" in text
    assert "<td>training.<wbr>warmup</td>" in text
    assert "<td>training.<wbr>steps</td>" not in text
    assert "  steps: 8  # default" in text


def test_a_run_that_ends_a_second_time_still_shows_its_answers(folder: Path, tmp_path: Path) -> None:
    data, held = chat_file(tmp_path / "train.jsonl"), chat_file(tmp_path / "held.jsonl", start=100, count=6)
    said = [
        f"model={folder}", f"run={tmp_path / 'run'}", f"data.validation={held}", "training.steps=2",
        "retention.text=off", "training.validation.metric=task_exact_match",
    ]  # fmt: skip
    first = train(load_recipe(str(data), said), say=lambda _: None)
    (first.folder / "report.json").unlink()
    again = resume(first.folder, say=lambda _: None)
    assert again.report["samples"] == first.report["samples"]
