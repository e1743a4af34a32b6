"""Verifiable instructions: an answer that follows and one that does not, for every kind."""

import json
from pathlib import Path
from typing import Any

import pytest

from tunesmith.evaluation.instructions import CHECKS, followed, sentences
from tunesmith.evaluation.item import Item
from tunesmith.evaluation.metrics import METRICS, score

CASES: list[tuple[str, dict[str, Any], str, str]] = [
    ("change_case:capital_word_frequency", {"capital_relation": "at least", "capital_frequency": 2}, "A BIG dog", "a"),
    ("change_case:english_capital", {}, "THIS IS WRITTEN IN ENGLISH.", "This is written in English."),
    ("change_case:english_lowercase", {}, "this is written in english.", "This is written in English."),
    ("combination:repeat_prompt", {"prompt_to_repeat": "Say it."}, "say it. Yes.", "Yes. Say it."),
    ("combination:two_responses", {}, "one\n******\ntwo", "one\n******\none"),
    ("detectable_content:number_placeholders", {"num_placeholders": 2}, "[name] at [place]", "[name] at place"),
    ("detectable_content:postscript", {"postscript_marker": "P.S."}, "Bye.\nP.S. one more", "Bye."),
    ("detectable_format:constrained_response", {}, "My answer is no.", "No."),
    ("detectable_format:json_format", {}, '```json\n{"a": 1}\n```', "{a: 1}"),
    ("detectable_format:multiple_sections", {"section_spliter": "SECTION", "num_sections": 2},
     "SECTION 1\na\nSECTION 2\nb", "SECTION 1\na"),
    ("detectable_format:number_bullet_lists", {"num_bullets": 2}, "* a\n- b", "* a\n* b\n* c"),
    ("detectable_format:number_highlighted_sections", {"num_highlights": 1}, "some *words* here", "some words ** here"),
    ("detectable_format:title", {}, "<<A title>>\ntext", "<A title>\ntext"),
    ("keywords:existence", {"keywords": ["Tea", "milk"]}, "tea with MILK", "tea"),
    ("keywords:forbidden_words", {"forbidden_words": ["tea"]}, "teapot", "A cup of Tea"),
    ("keywords:frequency", {"keyword": "tea", "frequency": 2, "relation": "at least"}, "tea, Tea", "tea"),
    ("keywords:letter_frequency", {"letter": "e", "let_frequency": 2, "let_relation": "less than"}, "tea", "eE"),
    ("language:response_language", {"language": "de"}, "Das ist ein ganz gewöhnlicher deutscher Satz.",
     "This is a perfectly ordinary English sentence."),
    ("length_constraints:nth_paragraph_first_word", {"num_paragraphs": 2, "nth_paragraph": 2, "first_word": "then"},
     "first\n\nThen, two", "first\n\nso"),
    ("length_constraints:number_paragraphs", {"num_paragraphs": 2}, "a\n***\nb", "a\n***\n***\nb"),
    ("length_constraints:number_sentences", {"num_sentences": 3, "relation": "less than"}, "One. Two!", "Ay. Be! Sea?"),
    ("length_constraints:number_words", {"num_words": 3, "relation": "at least"}, "one two three", "one two"),
    ("punctuation:no_comma", {}, "a b", "a, b"),
    ("startend:end_checker", {"end_phrase": "The end."}, 'So. "the end."', "The end. No."),
    ("startend:quotation", {}, '"all of it"', 'not "all of it"'),
]  # fmt: skip


@pytest.mark.parametrize(("kind", "given", "right", "wrong"), CASES)
def test_an_instruction_is_followed_or_not(kind: str, given: dict[str, Any], right: str, wrong: str) -> None:
    assert followed(right, [(kind, given)]) == [True]
    assert followed(wrong, [(kind, given)]) == [False]
    assert followed("  ", [(kind, given)]) == [False]


def test_every_kind_has_a_case() -> None:
    assert {kind for kind, *_ in CASES} == CHECKS.keys()


def test_loosely_a_first_line_and_asterisks_do_not_count() -> None:
    asked = [("startend:quotation", {})]
    answer = 'Sure, here it is:\n**"all of it"**'
    assert followed(answer, asked) == [False]
    assert followed(answer, asked, loose=True) == [True]


@pytest.mark.parametrize(
    ("text", "count"), [("One. Two! Three?", 3), ("Mr. A. Smith came.", 1), ("no end", 1), ("", 0)]
)
def test_sentences_are_counted(text: str, count: int) -> None:
    assert sentences(text) == count


def test_the_metrics_count_prompts_and_instructions() -> None:
    asked = {"instructions": ["punctuation:no_comma", "startend:quotation"], "given": [{}, {"unused": None}]}
    items = [Item(text, json.dumps(asked)) for text in ('"a"', "a", "a, b")]
    values = {name: score(METRICS[name], items).value for name in METRICS if name.startswith("instructions_")}
    assert values == pytest.approx(
        {"instructions_all": 1 / 3, "instructions_all_loose": 1 / 3, "instructions_each": 0.5,
         "instructions_each_loose": 0.5}
    )  # fmt: skip


def test_every_published_instruction_is_known_and_takes_its_arguments(real_data: Path) -> None:
    for line in (real_data / "ifeval/input_data.jsonl").read_text().splitlines():
        row = json.loads(line)
        given = [{k: v for k, v in part.items() if v is not None} for part in row["kwargs"]]
        followed("Some answer.", list(zip(row["instruction_id_list"], given, strict=True)))
