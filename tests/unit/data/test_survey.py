"""The survey counts what is there and judges little."""

import pytest

from tunesmith.data.example import Example, Message, Origin, Passage
from tunesmith.data.languages import language_of
from tunesmith.data.personal import personal_data
from tunesmith.data.reading import read_examples
from tunesmith.data.survey import bucket, survey


def _example(prompt: str, answer: str, line: int = 1) -> Example:
    return Example((Message("user", prompt), Message("assistant", answer)), Origin("a.jsonl", line))


@pytest.mark.parametrize(("words", "expected"), [(0, 0), (1, 1), (2, 2), (3, 2), (4, 4), (1023, 512), (1024, 1024)])
def test_lengths_fall_into_powers_of_two(words: int, expected: int) -> None:
    assert bucket(words) == expected


def test_short_answers_that_recur_are_classes_and_their_imbalance_is_found() -> None:
    examples = [_example(f"query {i}", "common" if i % 20 else "rare", i) for i in range(80)]
    counts, findings = survey(examples)
    assert counts.classes == {"common": 76, "rare": 4}
    assert [f.name for f in findings] == ["imbalance", "rare-label"]


def test_long_or_different_answers_are_no_classes() -> None:
    counts, findings = survey([_example("Q", f"answer number {i} is its own", i) for i in range(50)])
    assert counts.classes == {}
    assert findings == []


def test_lengths_turns_and_languages_are_counted() -> None:
    german = Passage("Das ist nicht die Antwort, die ich mit dir auf dem Weg zu finden hoffte.", Origin("a.txt", 1))
    counts, _ = survey([_example("one two three", "four five"), german])
    assert (counts.examples, counts.answers) == (2, 1)
    assert counts.turns == {2: 1}
    assert counts.prompt_words == {2: 1, 8: 1}
    assert counts.answer_words == {2: 1}
    assert counts.languages["de"] == 1


def test_refusals_and_equal_openings_are_found() -> None:
    refusals = ["I'm sorry, but I can't help.", "As an AI language model, I have no taste.", "I cannot do that."]
    counts, findings = survey([_example("Q", text, i) for i, text in enumerate(refusals)])
    assert counts.refusals == 3
    assert [f.line for f in findings if f.name == "refusal"] == [0, 1, 2]
    _, findings = survey(
        [_example("Q", f"Sure! Here is the text number {i} that was asked for by them") for i in range(30)]
    )
    assert [f.name for f in findings] == ["same-opening"]


@pytest.mark.parametrize(
    ("answer", "name"),
    [
        ("Dear {{name}}, thank you.", "unfilled-placeholder"),
        ("Sincerely, [YOUR NAME]", "unfilled-placeholder"),
        ("Fish &amp; chips", "html-remains"),
        ("Read <br> this", "html-remains"),
        ("again and again " * 50, "repetition"),
        ("a picture data:image/png;base64," + "iVBORw0KGgo" * 50, "embedded-binary"),
    ],
)
def test_what_a_machine_left_in_an_answer_is_found(answer: str, name: str) -> None:
    _, findings = survey([_example("Q", answer)])
    assert [f.name for f in findings] == [name]


@pytest.mark.parametrize("answer", ["a[i] = {x} if b < c else d", "f(x) & g(y)", "see [1] and [Name]", "a, b. " * 30])
def test_ordinary_text_and_code_are_no_remains(answer: str) -> None:
    assert survey([_example("Q", answer)])[1] == []


@pytest.mark.parametrize(
    ("text", "kinds"),
    [
        ("Write to anna.k@firm.de today", {"e-mail"}),
        ("Write to user@example.com", set()),
        ("Card 4539 1488 0343 6467 please", {"card"}),
        ("Order 4539 1488 0343 6468 please", set()),
        ("Call +49 30 901820 or so", {"phone"}),
        ("Call (555) 123-4567", {"phone"}),
        ("IBAN DE89 3704 0044 0532 0130 00", {"iban"}),
        ("IBAN DE88 3704 0044 0532 0130 00", set()),
        ("key AKIA" + "ABCDEFGHIJKLMNOP", {"key"}),
        ("She has 48/2 = 24 clips, 1,000,000 in all, 3.14159265358979", set()),
    ],
)
def test_personal_data_are_found_by_form_and_check_sum(text: str, kinds: set[str]) -> None:
    assert personal_data(text) == kinds


@pytest.mark.parametrize(
    ("text", "language"),
    [
        ("What is the name of the river that runs to the sea?", "en"),
        ("Où est la gare, et comment est-ce que je peux y aller avec les enfants ?", "fr"),
        ("¿Dónde está el tren que va por la costa y los pueblos?", "es"),
        ("この文章は日本語で書かれています。", "ja"),
        ("这是一个中文句子。", "zh"),
        ("Это не то, что я думал, но так и есть.", "ru"),
        ("1 + 1 = 2", "unknown"),
        ("", "unknown"),
    ],
)
def test_the_language_is_told_by_script_and_common_words(text: str, language: str) -> None:
    assert language_of(text) == language


def test_the_shape_of_a_set_is_told_in_numbers() -> None:
    rows = [{"prompt": f"Please sort these {i}", "completion": f"Here is {i} and a.b@firm.de"} for i in range(3)]
    counts, _ = survey(read_examples(rows).examples)
    shape = counts.as_dict()
    assert shape["prompt_openings"] == {"different": 1, "most": {"Please sort these": 3}}
    assert shape["answer_openings"]["different"] == 3
    assert (shape["turns"], shape["answer_words"]) == ({"2": 3}, {"4": 3})
    assert shape["personal_data"]["most"] == {"e-mail": 3}
