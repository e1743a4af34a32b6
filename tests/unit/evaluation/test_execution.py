"""Code of answers: run only when allowed, within limits, and counted without bias."""

import itertools
from pathlib import Path

import pytest

from tunesmith.errors import UsageError
from tunesmith.evaluation.execution import ALLOWED, code_of, pass_at, passes
from tunesmith.evaluation.item import Item
from tunesmith.evaluation.metrics import METRICS, score

pytestmark = pytest.mark.whole


@pytest.fixture
def _allowed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(ALLOWED, "1")


def test_nothing_runs_unless_it_is_allowed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv(ALLOWED, raising=False)
    with pytest.raises(UsageError, match="TUNESMITH_RUN_CODE=1"):
        passes(f"open({str(tmp_path / 'made')!r}, 'w')", "")
    assert not list(tmp_path.iterdir())


@pytest.mark.usefixtures("_allowed")
@pytest.mark.parametrize(
    ("code", "right"),
    [
        ("def f(x): return x + 1", True),
        ("def f(x): return x", False),
        ("def f(x): return", False),
        ("import os\ndef f(x): return x + 1 + ('SECRET' in os.environ)", True),
        ("while True: pass", False),
        ("x = 'a' * (1 << 31)\ndef f(x): return x + 1", False),
        ("open('large', 'w').write('a' * (1 << 22))\ndef f(x): return x + 1", False),
    ],
)
def test_code_passes_if_its_tests_do_within_the_limits(code: str, right: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SECRET", "1")
    assert passes(code, "assert f(1) == 2", seconds=2) == right


def test_the_fenced_block_of_an_answer_is_its_code() -> None:
    assert code_of("Here:\n```python\nx = 1\n```\nDone.") == "x = 1\n"
    assert code_of("x = 1") == "x = 1"


@pytest.mark.parametrize("k", [1, 2, 3])
def test_pass_at_k_is_the_mean_over_all_choices_of_k(k: int) -> None:
    results = [True, False, True, False, False]
    chosen = [any(part) for part in itertools.combinations(results, k)]
    assert pass_at(k, results) == pytest.approx(sum(chosen) / len(chosen))
    with pytest.raises(UsageError, match="needs 6 answers"):
        pass_at(6, results)


@pytest.mark.usefixtures("_allowed")
def test_the_metric_runs_the_answer_after_its_prompt_with_the_tests_of_its_reference() -> None:
    items = [
        Item("    return x + 1\n", "assert f(1) == 2", prompt="def f(x):\n"),
        Item("```python\ndef f(x):\n    return x\n```", "assert f(1) == 2", prompt="def f(x):\n"),
    ]
    assert score(METRICS["code_runs"], items).value == 0.5


@pytest.mark.usefixtures("_allowed")
def test_pass_at_k_takes_all_answers_to_a_question_together() -> None:
    texts = ["    return x + 1", *["    return x"] * 9]
    items = [Item(text, "assert f(1) == 2", prompt="def f(x):\n") for text in texts]
    assert score(METRICS["pass_at_1"], items).value == pytest.approx(0.1)
    assert score(METRICS["pass_at_10"], items).value == 1.0
