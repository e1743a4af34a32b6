"""What the benchmarks that come along ask: of the published files, and of the rows as the hub has them."""

import csv
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tunesmith.evaluation import places
from tunesmith.evaluation.benchmark import Asked, asked
from tunesmith.evaluation.metrics import named
from tunesmith.evaluation.parsing import marked_number
from tunesmith.evaluation.task import known, load_task


def first(name: str, limit: int = 1, shots: int | None = None) -> list[Asked]:
    """The first questions of a task."""
    task, place, subset = load_task(name)
    return asked(task, place, subset=subset, shots=shots, limit=limit)


@pytest.fixture
def published(real_data: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of the published files, which the tasks read."""
    monkeypatch.setenv("TUNESMITH_DATA", str(real_data))
    return real_data


def lines(path: Path) -> list[Any]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def test_mmlu_shows_five_solved_rows_and_asks_for_the_letter(published: Path) -> None:
    def rows(part: str) -> list[list[str]]:
        with (published / "mmlu" / part / f"high_school_physics_{part}.csv").open(encoding="utf-8", newline="") as file:
            return list(csv.reader(file))

    def shown(row: list[str]) -> str:
        options = "".join(f"\n{letter}. {text}" for letter, text in zip("ABCD", row[1:5], strict=True))
        return f"{row[0].strip()}{options}\nAnswer:"

    solved = "".join(f"{shown(row)} {row[5]}\n\n" for row in rows("dev"))
    head = "The following are multiple choice questions (with answers) about high school physics.\n\n"
    found = first("mmlu:high_school_physics", 3)
    for question, row in zip(found, rows("test"), strict=False):
        assert question.prompt == head + solved + shown(row)
        assert (question.options, question.reference) == (("A", "B", "C", "D"), row[5])


def test_mmlu_holds_all_its_subjects(published: Path) -> None:
    found = first("mmlu", 57, shots=0)
    assert len({question.subset for question in found}) == 57


def test_bbh_asks_what_follows_its_three_solved_rows(published: Path) -> None:
    rows = json.loads((published / "bbh" / "navigate.json").read_text())["examples"]
    solved = "".join(f"Q: {row['input']}\nA: {row['target']}\n\n" for row in rows[:3])
    found = first("bbh:navigate", 1000)
    assert len(found) == len(rows) - 3
    assert found[0].prompt == f"{solved}Q: {rows[3]['input']}\nA:"
    assert (found[0].options, found[0].reference) == ((), rows[3]["target"])


def test_bbh_with_reasoning_asks_every_row_to_end_in_the_answer(published: Path) -> None:
    rows = json.loads((published / "bbh" / "navigate.json").read_text())["examples"]
    found = first("bbh_cot:navigate", 1000)
    assert len(found) == len(rows)
    assert found[0].prompt.startswith("Reason step by step, then end with a sentence of the form: So the answer is X.")
    assert found[0].prompt.endswith(f"\n\nQ: {rows[0]['input']}\nA: Let's think step by step.")
    assert found[0].reference == rows[0]["target"]


def test_gsm8k_shows_five_solved_problems_and_its_reference_ends_in_the_number(published: Path) -> None:
    test, train = lines(published / "gsm8k" / "test.jsonl"), lines(published / "gsm8k" / "train.jsonl")
    solved = "".join(f"Question: {row['question']}\nAnswer: {row['answer']}\n\n" for row in train[:5])
    found = first("gsm8k", 2000)
    assert len(found) == len(test) == 1319
    assert found[-1].prompt == f"{solved}Question: {test[-1]['question']}\nAnswer:"
    assert found[-1].reference == test[-1]["answer"]
    assert all(marked_number(question.reference) is not None for question in found)


def test_ifeval_asks_the_prompt_alone_and_knows_every_instruction(published: Path) -> None:
    rows = lines(published / "ifeval" / "input_data.jsonl")
    found = first("ifeval", 1000)
    assert [question.prompt for question in found] == [row["prompt"] for row in rows]
    assert json.loads(found[0].reference) == {
        "instructions": rows[0]["instruction_id_list"],
        "given": rows[0]["kwargs"],
    }
    assert load_task("ifeval")[0].chat


def test_crows_pairs_chooses_between_the_two_sentences(published: Path) -> None:
    with (published / "crows_pairs" / "crows_pairs_anonymized.csv").open(encoding="utf-8", newline="") as file:
        row = next(csv.DictReader(file))
    assert first("crows_pairs") == [Asked("", "Text:", (row["sent_more"], row["sent_less"]), row["sent_more"])]


MADE = {
    "mmlu": {"question": " Why? ", "choices": ["w", "x", "y", "z"], "answer": 2},
    "bbh": {"input": "Is it so?", "target": "Yes"},
    "bbh_cot": {"input": "Is it so?", "target": "Yes"},
    "gsm8k": {"question": "1 + 1?", "answer": "It is <<1+1=2>>2.\n#### 2"},
    "ifeval": {"prompt": "Say a.", "instruction_id_list": ["punctuation:no_comma"], "kwargs": [{"language": None}]},
    "truthfulqa": {"question": "Is it?", "mc1_targets": {"choices": ["Yes", "No"], "labels": [0, 1]}},
    "arc": {"question": "Why?", "choices": {"text": ["red", "blue"], "label": ["1", "2"]}, "answerKey": "2"},
    "hellaswag": {"activity_label": "Cooking", "ctx": "He stirs and", "endings": ["a.", "b."], "label": "1"},
    "humaneval": {"prompt": "def f():\n", "test": "def check(f):\n    assert f()", "entry_point": "f"},
}  # fmt: skip
"""A row of each benchmark, with the fields that the hub gives it."""
WANTED = {
    "mmlu:law": ("Why?\nA. w\nB. x\nC. y\nD. z\nAnswer:", ("A", "B", "C", "D"), "C"),
    "bbh:navigate": ("Q: Is it so?\nA:", (), "Yes"),
    "bbh_cot:navigate": ("Q: Is it so?\nA: Let's think step by step.", (), "Yes"),
    "gsm8k": ("Question: 1 + 1?\nAnswer:", (), "It is <<1+1=2>>2.\n#### 2"),
    "ifeval": ("Say a.", (), '{"given": [{"language": null}], "instructions": ["punctuation:no_comma"]}'),
    "truthfulqa": ("Q: Is it?\nA:", ("Yes", "No"), "No"),
    "arc:ARC-Challenge": ("Question: Why?\nAnswer:", ("red", "blue"), "blue"),
    "hellaswag": ("Cooking: He stirs and", ("a.", "b."), "b."),
    "humaneval": ("def f():\n", (), "def check(f):\n    assert f()\n\ncheck(f)"),
}
"""What such a row asks: how its prompt ends, the options, the reference."""
ADDRESSES = {
    "mmlu:law": ["hub:cais/mmlu:law:test", "hub:cais/mmlu:law:dev"],
    "bbh:navigate": ["hub:lukaemon/bbh:navigate:test"] * 2,
    "bbh_cot:navigate": ["hub:lukaemon/bbh:navigate:test"],
    "gsm8k": ["hub:openai/gsm8k:main:test", "hub:openai/gsm8k:main:train"],
    "ifeval": ["hub:google/IFEval:default:train"],
    "truthfulqa": ["hub:truthfulqa/truthful_qa:multiple_choice:validation"],
    "arc:ARC-Challenge": ["hub:allenai/ai2_arc:ARC-Challenge:test"],
    "hellaswag": ["hub:Rowan/hellaswag:default:validation"],
    "humaneval": ["hub:openai/openai_humaneval:openai_humaneval:test"],
}


@pytest.fixture
def fetched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], list[str]]:
    """Of a task: the hub has eight rows of it, and what is fetched there is noted."""
    monkeypatch.delenv("TUNESMITH_DATA", raising=False)
    monkeypatch.chdir(tmp_path)

    def of(name: str) -> list[str]:
        rows = tmp_path / "rows.jsonl"
        rows.write_text((json.dumps(MADE[name.partition(":")[0]]) + "\n") * 8)
        seen: list[str] = []
        monkeypatch.setattr(places, "fetch", lambda address: [seen.append(address), rows][1:])
        return seen

    return of


def test_every_task_with_a_place_on_the_hub_is_tried_here() -> None:
    with_hub = {name for name in known() if load_task(name)[0].hub is not None}
    assert with_hub == set(MADE) == {name.partition(":")[0] for name in WANTED}


@pytest.mark.parametrize("name", WANTED)
def test_rows_as_the_hub_has_them_are_asked(name: str, fetched: Callable[[str], list[str]]) -> None:
    addresses = fetched(name)
    (found,) = first(name)
    prompt, options, reference = WANTED[name]
    assert found.prompt.endswith(prompt)
    assert (found.options, found.reference) == (options, reference)
    assert addresses == ADDRESSES[name]


@pytest.mark.parametrize("name", sorted(known()))
def test_the_metrics_of_a_task_are_known(name: str) -> None:
    task = load_task(name)[0]
    assert named(task.metrics) or task.options


def test_a_benchmark_without_a_place_on_the_hub_says_where_its_files_belong(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("TUNESMITH_DATA", raising=False)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(places.DataError, match=r"crows_pairs_anonymized\.csv: no such file.*TUNESMITH_DATA"):
        first("crows_pairs")
