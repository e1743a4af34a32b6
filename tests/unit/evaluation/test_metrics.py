import math
from dataclasses import astuple

import numpy as np
import pytest
from sklearn.metrics import accuracy_score, precision_recall_fscore_support

from tunesmith.errors import UsageError
from tunesmith.evaluation.classes import each
from tunesmith.evaluation.item import Item
from tunesmith.evaluation.metrics import METRICS, Score, guessed, item_scores, named, score, table


def value(metric: str, *pairs: tuple[str, str]) -> float:
    return score(METRICS[metric], [Item(answer, reference) for answer, reference in pairs]).value


def labelled(n: int = 60) -> list[Item]:
    random = np.random.default_rng(3)
    names = ["card arrival", "card", "lost card", "top up"]
    return [Item(names[a], names[b]) for a, b in random.integers(0, 4, size=(n, 2))]


@pytest.mark.parametrize("average", ["macro", "micro"])
def test_precision_recall_and_f1_equal_scikit_learns(average: str) -> None:
    items = labelled()
    expected = precision_recall_fscore_support(
        [item.reference for item in items], [item.answer for item in items], average=average, zero_division=0
    )
    ours = [score(METRICS[f"{part}_{average}"], items).value for part in ("precision", "recall", "f1")]
    assert ours == pytest.approx(expected[:3])


def test_each_class_has_scikit_learns_numbers() -> None:
    items = [*labelled(), Item("I do not know", "card"), Item("card", "never answered")]
    names = sorted({item.reference for item in items})
    answers = [item.answer if item.answer in names else "none" for item in items]
    references = [item.reference for item in items]
    expected = precision_recall_fscore_support(references, answers, labels=names, average=None, zero_division=0)
    found = each(items)
    assert [one.label for one in found] == names
    for place, numbers in enumerate(zip(*expected, strict=True)):
        assert astuple(found[place])[1:] == pytest.approx(numbers)


def test_answers_without_a_label_count_as_misses_like_in_scikit_learn() -> None:
    items = [*labelled(), Item("I do not know", "card"), Item("card or top up", "top up")]
    names = sorted({item.reference for item in items})
    expected = precision_recall_fscore_support(
        [item.reference for item in items],
        [item.answer if item.answer in names else "none" for item in items],
        average="macro",
        labels=names,
        zero_division=0,
    )
    ours = [score(METRICS[f"{part}_macro"], items).value for part in ("precision", "recall", "f1")]
    assert ours == pytest.approx(expected[:3])


def test_accuracy_equals_scikit_learns() -> None:
    items = labelled()
    expected = accuracy_score([item.reference for item in items], [item.answer for item in items])
    assert score(METRICS["accuracy"], items).value == expected


@pytest.mark.parametrize(
    ("answer", "right"),
    [
        ("card_arrival", True),
        (" Card_Arrival.\n", True),
        ('"card_arrival"', True),
        ("The intent is card_arrival.", True),
        ("card_arrival or lost_card", False),
        ("my_card_arrival_2", False),
        ("", False),
    ],
)
def test_accuracy_reads_the_one_label_that_an_answer_names(answer: str, right: bool) -> None:
    others = [("lost_card", "lost_card"), ("card", "card")]
    assert value("accuracy", (answer, "card_arrival"), *others) == pytest.approx((right + 2) / 3)


def test_exact_match_forgives_outer_white_space_and_nothing_else() -> None:
    assert value("exact_match", (" a b\n", "a b"), ("A b", "a b"), ("a  b", "a b")) == pytest.approx(1 / 3)


@pytest.mark.parametrize(
    ("answer", "reference", "same"),
    [
        (" The  Eiffel tower.\n", "eiffel Tower", True),
        ("an U.S. army", "the US Army", True),
        ("theatre", "atre", False),
        ("Straße", "STRASSE", False),  # SQuAD's lower() does not fold it
        ("not Paris", "Paris", False),
        ("the", "", True),
    ],
)
def test_exact_match_squad_sees_through_case_articles_punctuation_and_space(
    answer: str, reference: str, same: bool
) -> None:
    assert value("exact_match_squad", (answer, reference)) == same


def test_token_f1_counts_like_squad() -> None:
    # "the" and punctuation do not count: 2 common words of 3 and 2.
    assert value("token_f1", ("The cat sat!", "cat, sat"), ("a dog", "cat")) == pytest.approx((1.0 + 0.0) / 2)
    assert value("token_f1", ("big cat sat", "cat sat")) == pytest.approx(0.8)


@pytest.mark.parametrize(
    ("answer", "valid"),
    [
        ('{"a": 1}', True),
        (' {"a": [1, null]} \n', True),
        ('{"a": 1} ok', False),
        ("```json\n{}\n```", False),
        ('{"a": NaN}', False),
        ('{"a": 1, "a": 2}', False),
        ("[" * 100_000, False),
        ("", False),
    ],
)
def test_json_valid_wants_the_whole_answer_to_be_json(answer: str, valid: bool) -> None:
    assert value("json_valid", (answer, "{}")) == valid


@pytest.mark.parametrize(
    ("answer", "reference", "equal"),
    [
        ('{"b": 1.0, "a": true}', '{"a": true, "b": 1}', True),
        ('{"a": 1}', '{"a": true}', False),
        ('{"a": 0}', '{"a": false}', False),
        ('{"a": [1, 2]}', '{"a": [2, 1]}', False),
        ('{"a": 0.1000000000000000000001}', '{"a": 0.1}', False),
        ('{"a": 1, "b": 2}', '{"a": 1}', False),
        ("nothing", '{"a": 1}', False),
    ],
)
def test_json_match_compares_values_not_writing(answer: str, reference: str, equal: bool) -> None:
    assert value("json_match", (answer, reference)) == equal


def test_json_fields_counts_the_references_fields() -> None:
    reference = '{"a": 1, "b": "x", "c": null}'
    assert value("json_fields", ('{"a": 1, "b": "y", "d": 4}', reference), ("no", reference)) == pytest.approx(1 / 6)


@pytest.mark.parametrize(
    ("answer", "reference", "right"),
    [
        ("so 3*4=12\n#### 12", "x\n#### 12", True),
        ("#### 1,200", "#### 1200", True),
        ("#### 12.0", "#### 12", True),
        ("#### -3.", "#### -3", True),
        ("the answer is 12", "#### 12", False),
        ("it makes 7, no, 8", "8", True),
        ("none", "8", False),
    ],
)
def test_numeric_answer_reads_the_marked_number(answer: str, reference: str, right: bool) -> None:
    assert value("numeric_answer", (answer, reference)) == right


def test_numeric_form_wants_the_last_line_and_an_end() -> None:
    items = [
        Item("so\n#### 12", "#### 12"),
        Item("so\n#### 12", "#### 12", finished=False),
        Item("#### 12\nand more", "#### 12"),
        Item("it is #### 12", "#### 12"),
    ]
    assert score(METRICS["numeric_form"], items).value == 0.25


def test_perplexity_and_bits_per_byte_weigh_tokens_not_items() -> None:
    items = [Item("", "ab", nats=2.0, targets=1), Item("", "äbcd", nats=4.0, targets=3)]
    assert score(METRICS["loss"], items).value == 1.5
    assert score(METRICS["perplexity"], items).value == pytest.approx(math.exp(1.5))
    assert score(METRICS["bits_per_byte"], items).value == pytest.approx(6 / math.log(2) / 7)


def test_a_metric_without_its_numbers_is_refused() -> None:
    with pytest.raises(UsageError, match="perplexity: the items lack"):
        score(METRICS["perplexity"], [Item("a", "a")])


def test_no_items_are_refused() -> None:
    with pytest.raises(UsageError, match="no items"):
        score(METRICS["exact_match"], [])


def test_an_interval_holds_its_value_and_a_proportion_gets_wilsons() -> None:
    for name in ("accuracy", "f1_macro", "token_f1"):
        found = score(METRICS[name], labelled())
        assert found.low <= found.value <= found.high
        assert found.items == 60
    assert score(METRICS["exact_match"], [Item("a", "a")] * 20).low == pytest.approx(0.8389, abs=1e-4)


def test_an_interval_leaves_out_the_draws_in_which_nothing_counts() -> None:
    found = score(METRICS["json_fields"], [Item('{"a": 1}', '{"a": 1}'), Item("{}", "{}")])
    assert (found.low, found.value, found.high, found.items) == (1.0, 1.0, 1.0, 2)


def test_item_scores_leave_out_what_one_item_cannot_have() -> None:
    scores = item_scores(named(["exact_match", "f1_macro", "perplexity"]), [Item("a", "a", nats=0.0, targets=2)])
    assert scores == [{"exact_match": 1.0, "perplexity": 1.0}]


def test_an_unknown_metric_is_answered_with_the_nearest() -> None:
    with pytest.raises(UsageError, match="Did you mean exact_match"):
        named(["exact_mach"])


@pytest.mark.parametrize(
    ("references", "first"),
    [
        (['{"a": 1}', '{"a": 2}'], "json_match"),
        (["1+1\n#### 2", "#### 5"], "numeric_answer"),
        (["yes", "no", "yes", "no"], "accuracy"),
        (["Paris", "London", "Rome"], "exact_match"),
        (["word " * 40, "other " * 50], "token_f1"),
    ],
)
def test_the_task_is_guessed_from_the_references(references: list[str], first: str) -> None:
    metrics, why = guessed(references)
    assert metrics[0].name == first
    assert why.startswith(("every reference", "the references"))


def test_the_table_of_scores_names_task_metric_value_and_interval() -> None:
    lines = table({"words": {"accuracy": Score(0.5, 0.25, 0.75, 1200)}}).splitlines()
    assert lines[0].split() == ["task", "metric", "value", "95", "%", "interval", "items"]
    assert lines[1].split() == ["words", "accuracy", "0.5000", "0.2500", "…", "0.7500", "1,200"]


def chosen(answer: str, reference: str, **options: float) -> Item:
    return Item(answer, reference, options={text: math.log(share) for text, share in options.items()})


def test_a_choice_is_right_by_the_likeliest_option_or_the_likeliest_per_byte() -> None:
    item = chosen("a", "longer", a=0.4, longer=0.3)
    assert item_scores(named(["choice", "choice_normalised"]), [item]) == [{"choice": 0.0, "choice_normalised": 1.0}]


def test_the_calibration_error_is_how_far_confidence_is_from_being_right() -> None:
    items = [chosen("a", "a", a=0.75, b=0.25)] * 2 + [chosen("a", "b", a=0.75, b=0.25)] * 2
    items += [chosen("a", "a", a=0.95, b=0.05)]
    assert score(METRICS["calibration_error"], items).value == pytest.approx((4 * 0.25 + 0.05) / 5)
    with pytest.raises(UsageError, match="lack"):
        score(METRICS["calibration_error"], [Item("a", "a")])
