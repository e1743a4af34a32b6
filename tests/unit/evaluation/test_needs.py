"""What metrics need: looked at before anything is answered, and told with the first question that lacks it."""

import pytest

from tunesmith.errors import UsageError
from tunesmith.evaluation.compare import compare
from tunesmith.evaluation.execution import ALLOWED
from tunesmith.evaluation.item import Item
from tunesmith.evaluation.metrics import METRICS, require

LONG = "a long text that cannot be the name of any class, because nobody would write so much"
ASKED = '{"instructions": ["punctuation:no_comma"], "given": [{}]}'


@pytest.mark.parametrize(
    ("metric", "references", "lack"),
    [
        ("accuracy", ["yes", "no"], None),
        ("f1_macro", [LONG, LONG, "yes"], None),
        ("accuracy", [LONG, "yes"], "are no labels: none comes back"),
        ("entity_f1", ["O O", "B-PER O"], None),
        ("entity_f1", ["no", "[]"], "no reference names an entity"),
        ("json_match", ["1", '{"a": 1}'], None),
        ("json_schema", ["1", "one", "two"], r"2 of 3 lack a reference that is JSON \(the first is number 2: 'one'\)"),
        ("json_fields", ["{}", '{"a": 1}'], None),
        ("json_fields", ["{}", "{}"], "no reference has a field"),
        ("json_fields", ["[]"], "1 of 1 lack a reference that is a JSON object"),
        ("numeric_answer", ["so 3\n#### 3", "4"], None),
        ("numeric_answer", ["four"], "1 of 1 lack a number"),
        ("instructions_each_loose", [ASKED], None),
        ("instructions_all", [ASKED.replace("no_comma", "no_dash")], "1 of 1 lack IFEval's instructions"),
        ("instructions_all", ["[1]"], "1 of 1 lack IFEval's instructions"),
        ("code_runs", ["assert f(1) == 2", "check(f)"], None),
        ("code_runs", ["5"], "1 of 1 lack tests"),
        ("pass_at_1", ["assert f("], "1 of 1 lack tests"),
        ("loss", ["x"], "1 of 1 lack the likelihood of the reference"),
        ("choice", ["x"], "1 of 1 lack options"),
    ],
)
def test_a_metric_says_what_it_lacks(
    metric: str, references: list[str], lack: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(ALLOWED, "1")
    items = [Item("", reference) for reference in references]
    if lack is None:
        require([METRICS[metric]], items)
    else:
        with pytest.raises(UsageError, match=f"{metric}: the items lack what it needs .*{lack}"):
            require([METRICS[metric]], items)


def test_pass_at_k_needs_k_answers_to_every_question() -> None:
    with pytest.raises(UsageError, match="needs 10 answers to each question, and one has 1"):
        require([METRICS["pass_at_10"]], [*[Item("", "check(f)", prompt="p")] * 10, Item("", "check(f)", prompt="q")])


def test_that_answers_may_be_run_is_asked_before_they_are_written(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(ALLOWED, raising=False)
    with pytest.raises(UsageError, match=f"{ALLOWED}=1"):
        require([METRICS["code_runs"]], [Item("", "check(f)")])


def test_a_comparison_by_a_metric_that_neither_side_has_is_refused() -> None:
    with pytest.raises(UsageError, match="choice: the items lack"):
        compare([Item("a", "a")], [Item("b", "a")], ["choice"])
