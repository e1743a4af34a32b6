"""What an answer says: the last of its answers, the shape of its JSON."""

import pytest

from tunesmith.evaluation.item import Item
from tunesmith.evaluation.metrics import METRICS, score
from tunesmith.evaluation.parsing import final_answer


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("First the answer is no. So the answer is **(B)**.", "(b)"),
        ("so The Answer Is: 12.\nand more", "12"),
        ("the answer is yes\nWait. The answer is  a   b c.", "a b c"),
        ("(B)", ""),
    ],
)
def test_the_last_answer_of_a_reasoning_counts(text: str, found: str) -> None:
    assert final_answer(text) == found


def test_final_answer_compares_with_the_reference() -> None:
    items = [Item("So the answer is (B).", "(B)"), Item("(B)", "(B)"), Item("the answer is No", "no")]
    assert score(METRICS["final_answer"], items).value == pytest.approx(2 / 3)


SCHEMA = '{"type": "object", "properties": {"a": {"type": "integer", "minimum": 1}}, "required": ["a"]}'


@pytest.mark.parametrize(
    ("answer", "reference", "fits"),
    [
        ('{"a": 1}', SCHEMA, True),
        ('{"a": 0}', SCHEMA, False),
        ("{}", SCHEMA, False),
        ("no json", SCHEMA, False),
        ('{"a": 7, "b": [{"c": "x"}, {"c": "y"}]}', '{"b": [{"c": "z"}], "a": 1}', True),
        ('{"a": "7", "b": []}', '{"a": 1, "b": []}', False),
        ('{"a": 7, "b": [{"d": "x"}]}', '{"b": [{"c": "z"}], "a": 1}', False),
        ('{"$ref": "http://127.0.0.1:9/x"}', '{"properties": {"a": {"$ref": "http://127.0.0.1:9/x"}}}', True),
        ('{"a": 1}', '{"properties": {"a": {"$ref": "http://127.0.0.1:9/x"}}}', False),
    ],
)
def test_an_answer_fits_a_schema_or_the_shape_of_its_reference(answer: str, reference: str, fits: bool) -> None:
    assert score(METRICS["json_schema"], [Item(answer, reference)]).value == fits
