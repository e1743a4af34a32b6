"""Graders on texts, on answers of models that are played, and on functions that would like to do more than compute."""

import json
from typing import Any

import pytest
from pydantic import TypeAdapter

from tunesmith.errors import RequestError
from tunesmith.serving.answer import Written
from tunesmith.serving.confined import GraderFault, can_confine, grade
from tunesmith.serving.formula import value
from tunesmith.serving.graders import Desk, Grader, Outcome
from tunesmith.serving.similarity import OFFERED, similarity

ITEM = {"answer": "Paris", "facts": {"country": "France"}}


def _parsed(**given: Any) -> Any:
    return TypeAdapter(Grader).validate_python({"name": "g", **given})


def _desk(says: str = '{"result": 0.5}', python: bool = False) -> Desk:
    return Desk(lambda *_: Written(says, 7), lambda name: name == "judge", python)


def _run(grader: Any, sample: str, desk: Desk | None = None) -> Outcome:
    desk = desk or _desk()
    desk.refuse(grader)
    return desk.run(grader, sample, ITEM)


@pytest.mark.parametrize(
    ("operation", "sample", "reward"),
    [("eq", "Paris", 1), ("eq", "paris", 0), ("ne", "paris", 1), ("like", "It is Paris.", 1), ("like", "PARIS", 0),
     ("ilike", "It is PARIS.", 1)],
)  # fmt: skip
def test_texts_are_compared_as_asked(operation: str, sample: str, reward: float) -> None:
    grader = _parsed(
        type="string_check", operation=operation, input="{{ sample.output_text }}", reference="{{item.answer}}"
    )
    assert _run(grader, sample).reward == reward


@pytest.mark.parametrize("metric", OFFERED)
def test_a_text_is_wholly_like_itself_and_unlike_another(metric: Any) -> None:
    text = "the cat sat on the mat and slept there all day"
    assert similarity(metric, text, text) == pytest.approx(1, abs=0.01)
    assert similarity(metric, "völlig anders", text) < 0.4
    assert similarity(metric, "", text) < 0.1


def test_a_model_scores_within_the_range_and_its_tokens_are_counted() -> None:
    grader = _parsed(type="score_model", model="judge", input=[{"role": "user", "content": "{{item.answer}}?"}])
    outcome = _run(grader, "x")
    assert (outcome.reward, outcome.tokens, outcome.faults) == (0.5, {"judge": 7}, set())


def test_a_label_passes_or_does_not() -> None:
    grader = _parsed(
        type="label_model", model="judge", labels=["good", "bad"], passing_labels=["good"],
        input=[{"role": "developer", "content": {"type": "input_text", "text": "Judge."}}],
    )  # fmt: skip
    rewards = [_run(grader, "x", _desk(json.dumps({"result": label}))).reward for label in ("good", "bad")]
    assert rewards == [1, 0]


def test_a_formula_puts_graders_together() -> None:
    part = {"type": "string_check", "name": "n", "operation": "eq", "reference": "{{item.answer}}"}
    grader = _parsed(
        type="multi", calculate_output="0.25 * a + max(b, 0)",
        graders={"a": {**part, "input": "Paris"}, "b": {**part, "input": "{{sample.output_json.city}}"}},
    )  # fmt: skip
    outcome = _run(grader, '{"city": "Paris"}')
    assert (outcome.reward, outcome.parts) == (1.25, {"a": 1, "b": 1})
    assert _run(grader, "no JSON").faults == {"sample_parse_error"}


@pytest.mark.parametrize("text", ["__import__('os')", "a.b", "a[0]", "'x'", "lambda: 1", "1/0", "9**9**9**9", "c", "("])
def test_a_formula_is_arithmetic_and_nothing_else(text: str) -> None:
    with pytest.raises(RequestError):
        value(text, {"a": 1.0})


@pytest.mark.parametrize(
    "given",
    [
        {"type": "python", "source": "def grade(sample, item): return 1"},
        {"type": "text_similarity", "evaluation_metric": "cosine", "input": "a", "reference": "b"},
        {"type": "score_model", "model": "unknown", "input": [{"role": "user", "content": "x"}]},
        {"type": "label_model", "model": "judge", "labels": ["a"], "passing_labels": ["b"],
         "input": [{"role": "user", "content": "x"}]},
        {"type": "multi", "calculate_output": "n", "graders": [
            {"type": "string_check", "name": "n", "operation": "eq", "input": "a", "reference": wanted}
            for wanted in "ab"
        ]},
    ],
)  # fmt: skip
def test_what_cannot_be_run_here_is_refused(given: dict[str, Any]) -> None:
    with pytest.raises(RequestError):
        _desk().refuse(_parsed(**given))


needs_confinement = pytest.mark.skipif(not can_confine(), reason="this system confines no process by seccomp")


@needs_confinement
def test_a_function_grades() -> None:
    source = (
        "import re\ndef grade(sample, item):\n    return 0.5 * bool(re.search(item['answer'], sample['output_text']))"
    )
    outcome = _run(_parsed(type="python", source=source), "Paris!", _desk(python=True))
    assert (outcome.reward, outcome.faults) == (0.5, set())


@needs_confinement
@pytest.mark.parametrize(
    "body",
    [
        "open('/etc/passwd')",
        "open('/tmp/x', 'w')",
        "__import__('os').listdir('/')",
        "__import__('os').fork()",
        "__import__('os').kill(1, 0)",
        "__import__('os').execv('/bin/true', ['true'])",
        "__import__('socket').socket()",
        "__import__('subprocess').run(['true'])",
        "1 / (1 + __import__('ctypes').CDLL(None).syscall(41, 2, 1, 0))",
        "bytearray(4 << 30)",
        "print('x' * (1 << 20), flush=True)",
        "'no number'",
    ],
)
def test_a_function_can_do_nothing_but_compute(body: str) -> None:
    with pytest.raises(GraderFault):
        grade(f"def grade(sample, item):\n    return float({body} or 1)", {}, {})


@needs_confinement
def test_a_function_that_never_ends_is_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tunesmith.serving.confined.SECONDS", 0.5)
    with pytest.raises(GraderFault, match="longer"):
        grade("while True:\n    pass", {}, {})
