"""What a check says of data is what a run would do with them."""

import json
from pathlib import Path
from typing import Any

import pytest
from tiny_model import chat_file

from tunesmith.data import inspection, portions
from tunesmith.recipe import load_recipe
from tunesmith.run import check as checking
from tunesmith.run.check import check
from tunesmith.run.train import train

GOOD = [{"prompt": f"question {i} " * (i % 7 + 1), "completion": f"answer {i}"} for i in range(20)]


def _file(path: Path, rows: list[dict[str, Any]]) -> str:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return str(path)


def test_the_computed_tokens_are_those_that_a_run_computes(folder: Path, tmp_path: Path) -> None:
    file = chat_file(tmp_path / "chat.jsonl", count=30)
    checked = check([str(file)], model=str(folder))
    settings = {"model": folder, "run": tmp_path / "run", "data.validation": 0, "data.test": 0, "training.epochs": 1,
                "method.rank": 2}  # fmt: skip
    run = train(load_recipe(str(file), [f"{k}={v}" for k, v in settings.items()]), say=lambda _: None).folder
    steps = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    for name, found in (
        ("computed_tokens", checked.tokens.computed_per_epoch),
        ("tokens", checked.tokens.total),
        ("supervised_tokens", checked.tokens.supervised),
    ):
        assert sum(step.get(name, 0) for step in steps) == found, name


def test_the_books_balance_with_what_the_tokenizer_refuses(folder: Path, tmp_path: Path) -> None:
    rows = [*GOOD, {"prompt": "a", "completion": ""}, {"prompt": "b" * 600, "completion": "c"}, {"prompt": "d"}]
    checked = check([_file(tmp_path / "a.jsonl", rows)], model=str(folder))
    assert checked.dropped == {"empty-answer": 1, "no-format": 1, "too-long": 1}
    assert (checked.read, checked.usable, checked.examples) == (23, 20, 20)
    assert set(checked.stops) == set(checked.dropped)
    assert {(f.name, f.line) for f in checked.findings} >= {("empty-answer", 21), ("too-long", 22), ("no-format", 23)}


def test_a_tree_with_one_path_too_long_is_used(folder: Path, tmp_path: Path) -> None:
    def turn(role: str, text: str, *replies: dict[str, Any]) -> dict[str, Any]:
        return {"role": role, "text": text, "replies": list(replies)}

    answers = (turn("assistant", "short"), turn("assistant", "long " * 200))
    rows = [{"prompt": turn("prompter", f"question {i}", *answers)} for i in range(12)]
    rows.append({"prompt": turn("prompter", "last", answers[1])})
    checked = check([_file(tmp_path / "tree.jsonl", rows)], model=str(folder))
    assert (checked.read, checked.usable, checked.examples, checked.totals["too-long"]) == (13, 12, 12, 13)
    assert checked.dropped == {"too-long": 1}


def test_what_a_setting_drops_does_not_stop(folder: Path, tmp_path: Path) -> None:
    file = _file(tmp_path / "a.jsonl", [*GOOD, {"prompt": "a", "completion": ""}])
    assert not check([file], model=str(folder)).could_start()
    dropping = check([file], model=str(folder), settings=["data.on_bad_record=drop"])
    assert dropping.could_start()
    assert not dropping.could_start(strict=True)


def test_too_few_examples_stop_unless_the_minimum_is_lower(folder: Path, tmp_path: Path) -> None:
    file = _file(tmp_path / "a.jsonl", GOOD[:9])
    assert check([file], model=str(folder)).stops == ("too-few",)
    assert check([file], model=str(folder), settings=["data.minimum=9"]).could_start()


def test_held_out_data_are_found_and_named_with_their_place(folder: Path, tmp_path: Path) -> None:
    held_out = _file(tmp_path / "test.jsonl", GOOD[3:4])
    checked = check([_file(tmp_path / "a.jsonl", GOOD)], model=str(folder), against=[held_out])
    (leak,) = [f for f in checked.findings if f.name == "leak"]
    assert (leak.line, str(leak.other)) == (4, f"{held_out}:1")


def test_several_files_are_one_set(folder: Path, tmp_path: Path) -> None:
    files = [_file(tmp_path / "a.jsonl", GOOD), _file(tmp_path / "b.jsonl", GOOD[:2])]
    checked = check(files, model=str(folder))
    assert checked.read == 22
    assert [f.file for f in checked.findings if f.name == "duplicate"] == [files[1]] * 2


def test_only_the_last_answers_are_learned_if_asked(folder: Path, tmp_path: Path) -> None:
    turns = [{"role": role, "content": "ab"} for role in ("user", "assistant") * 2]
    file = _file(tmp_path / "a.jsonl", [{"messages": [{**turns[0], "content": str(i)}, *turns[1:]]} for i in range(12)])
    every = check([file], model=str(folder)).tokens.supervised
    last = check([file], model=str(folder), train_on="last_assistant").tokens.supervised
    assert every == 2 * last > 0


def test_passages_are_counted_in_windows(folder: Path, tmp_path: Path) -> None:
    file = _file(tmp_path / "a.jsonl", [{"text": "word " * 200}] * 1)
    checked = check([file], model=str(folder), settings=["data.minimum=1"])
    assert (checked.read, checked.usable, checked.examples) == (1, 1, 2)
    assert checked.tokens.percentiles["max"] <= 512


@pytest.mark.parametrize("count", [10, 5000])
def test_percentiles_are_lengths_that_occur(folder: Path, tmp_path: Path, count: int) -> None:
    rows = [{"prompt": "ab" * (i % 10), "completion": f"{i:05}"} for i in range(1, count + 1)]
    points = check([_file(tmp_path / "a.jsonl", rows)], model=str(folder)).tokens.percentiles
    assert list(points) == ["p50", "p90", "p95", "p99", "max"]
    assert sorted(points.values()) == list(points.values())
    assert (points["max"] - points["p50"]) % 2 == 0


def test_the_data_of_a_recipe_are_checked_with_its_settings_and_against_its_held_out_files(
    folder: Path, tmp_path: Path
) -> None:
    _file(tmp_path / "train.jsonl", GOOD)
    _file(tmp_path / "test.jsonl", GOOD[:2])
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text("data: {train: train.jsonl, test: test.jsonl}\nmethod: {kind: full}\n")
    checked = check([str(recipe)], model=str(folder))
    assert (checked.files, checked.method) == ((str(tmp_path / "train.jsonl"),), "full")
    assert checked.totals["leak"] == 2


def test_a_finding_that_the_settings_allow_stops_nothing(folder: Path, tmp_path: Path) -> None:
    file = _file(tmp_path / "a.jsonl", [*GOOD, {"prompt": "a", "completion": ""}])
    assert not check([file], model=str(folder)).could_start()
    assert check([file], model=str(folder), settings=["data.allow=[empty-answer]"]).could_start()


def test_a_check_of_much_data_goes_on_after_a_kill_unless_anything_it_follows_from_has_changed(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TUNESMITH_HOME", str(tmp_path / "home"))
    monkeypatch.setattr(checking, "LARGE", 0)
    by_ten = portions.portions
    monkeypatch.setattr(inspection, "portions", lambda items: by_ten(items, 10))
    file, held_out = _file(tmp_path / "a.jsonl", GOOD * 2), _file(tmp_path / "test.jsonl", GOOD[:2])

    class Killed(BaseException):
        pass

    def kill(count: int) -> None:
        if count > 20:
            raise Killed

    def interrupted(**options: Any) -> set[Path]:
        with pytest.raises(Killed):
            check([file], model=str(folder), tell=kill, **options)
        return {path for path in (tmp_path / "home" / "checks").iterdir() if path.suffix == ".parts"}

    (kept,) = interrupted()
    begun = kept.stat().st_size
    assert begun > 0
    assert interrupted() == {kept}
    assert kept.stat().st_size == begun
    assert len(interrupted(against=[held_out])) == 2
    assert len(interrupted(against=[held_out], train_on="all")) == 3
    told: list[int] = []
    resumed = check([file], model=str(folder), tell=told.append)
    assert not kept.exists()
    uninterrupted = check([file], model=str(folder))
    assert resumed.as_dict() | {"estimate": {}} == uninterrupted.as_dict() | {"estimate": {}}
    assert resumed.estimate.peak_bytes == uninterrupted.estimate.peak_bytes
    assert told[-1] == 40
