import json
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from tiny_model import tiny_model

from tunesmith.errors import DataError
from tunesmith.evaluation import benchmark
from tunesmith.evaluation.benchmark import Asked, asked, choice, items, longest
from tunesmith.evaluation.task import Task
from tunesmith.generation.decode import Completion
from tunesmith.run.opened import Opened, open_model

ROWS = [{"q": f"Colour {i}?", "a": "BA"[i % 2]} for i in range(6)]


def task(folder: Path, **more: Any) -> tuple[Task, Path]:
    """A task of six rows in two subsets, two options each."""
    for subset, rows in (("x", ROWS[:4]), ("y", ROWS[4:])):
        (folder / f"{subset}.jsonl").write_text("\n".join(map(json.dumps, rows)) + "\n")
    fields = {
        "name": "colours", "version": 1, "says": "s", "data": "{subset}.jsonl", "prompt": "Q: {{ q }}\nA:",
        "answer": "{{ a }}", "options": ["A", "B"], "description": "About {{ subset }}.\n\n",
    }  # fmt: skip
    return Task.model_validate_json(json.dumps({**fields, **more})), folder / "task.yaml"


@pytest.fixture(scope="module")
def opened(tmp_path_factory: pytest.TempPathFactory) -> Opened:
    return open_model(str(tiny_model(tmp_path_factory.mktemp("model"))), say=lambda _: None)


def scored(opened: Opened, one: Task, questions: list[Asked]) -> list[Any]:
    return list(items(opened.network(longest(opened.encoder, one, questions)), opened.encoder, one, questions))


def test_questions_are_taken_from_the_subsets_in_turn(tmp_path: Path) -> None:
    found = asked(*task(tmp_path), subset=None, shots=None, limit=3)
    assert [question.subset for question in found] == ["x", "y", "x"]
    assert found[0].prompt == "About x.\n\nQ: Colour 0?\nA:"
    assert [q.reference for q in asked(*task(tmp_path), subset="y", shots=None, limit=None)] == ["B", "A"]


def test_solved_rows_stand_before_a_question_and_are_not_asked(tmp_path: Path) -> None:
    one = task(tmp_path, shots={"data": "{subset}.jsonl", "count": 1})
    found = asked(*one, subset="x", shots=None, limit=None)
    assert len(found) == 3
    assert found[0].prompt == "About x.\n\nQ: Colour 0?\nA: B\n\nQ: Colour 1?\nA:"
    assert len(asked(*one, subset="x", shots=0, limit=None)) == 4


def test_a_right_answer_that_is_no_option_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="none of the options"):
        asked(*task(tmp_path, options=["A", "C"]), subset=None, shots=None, limit=None)


@pytest.mark.parametrize(
    ("name", "text", "told"),
    [("x.json", b"{", r"x\.json: "), ("x.json", b'{"rows": []}', r"x\.json: .*'examples'"),
     ("x.json", b"[]", r"x\.json: "), ("x.json", b'{"examples": [1]}', r"x\.json:1: .*int"),
     ("x.csv", b"Caf\xe9,A\n", r"x\.csv: ")],
)  # fmt: skip
def test_a_file_that_does_not_fit_its_task_is_refused_by_name(
    tmp_path: Path, name: str, text: bytes, told: str
) -> None:
    one, place = task(tmp_path, data=name, at="examples", columns=["q", "a"])
    (tmp_path / name).write_bytes(text)
    with pytest.raises(DataError, match=told):
        asked(one, place, subset=None, shots=None, limit=None)


def test_the_likelihood_of_an_option_is_that_of_transformers_on_the_text(opened: Opened, tmp_path: Path) -> None:
    one, place = task(tmp_path)
    plain: Any = transformers.AutoModelForCausalLM.from_pretrained(opened.folder)
    questions = asked(one, place, subset=None, shots=None, limit=2)
    for question, item in zip(questions, scored(opened, one, questions), strict=True):
        for option, nats in item.options.items():
            before, whole = (
                opened.encoder.tokenizer.encode(t) for t in (question.prompt, f"{question.prompt} {option}")
            )
            with torch.no_grad():
                log_p = plain(input_ids=torch.tensor([whole])).logits[0].log_softmax(-1)
            expected = sum(float(log_p[at - 1, whole[at]]) for at in range(len(before), len(whole)))
            assert nats == pytest.approx(expected, rel=1e-4)
        assert item.answer == max(item.options, key=item.options.__getitem__)


def test_spaces_that_end_a_prompt_count_to_the_answer(opened: Opened) -> None:
    one = Task(name="t", version=1, says="s", data="d", prompt="p", answer="a", options=("x", "y"), between="")
    found = choice(opened.encoder, one, Asked("", "Say ", ("x", "y"), "x"))
    tokenizer = opened.encoder.tokenizer
    assert list(found.prompt) == tokenizer.encode("Say")
    assert [*found.prompt, *found.options[1]] == tokenizer.encode("Say y")


def test_a_free_answer_ends_where_the_task_says(
    opened: Opened, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    written = Completion(tuple(opened.encoder.tokenizer.encode(" red\n\nQ: Colour 9?")), "length")
    monkeypatch.setattr(benchmark, "generate", lambda model, prompts, **_: [written for _ in prompts])
    one, place = task(tmp_path, options=None)
    found = scored(opened, one, asked(one, place, subset=None, shots=None, limit=2))
    assert [(item.answer, item.finished) for item in found] == [("red", True)] * 2
    never = one.model_copy(update={"until": ()})
    item = scored(opened, never, asked(never, place, subset=None, shots=None, limit=1))[0]
    assert (item.answer, item.finished) == ("red\n\nQ: Colour 9?", False)
