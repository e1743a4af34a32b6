"""Labels chosen by their likelihood: each scored as a whole answer, on one copy of the prompt."""

from pathlib import Path

import pytest
from tiny_model import chat_file, tiny_model

from tunesmith.data.example import Example, Message, Origin
from tunesmith.errors import DataError, UsageError
from tunesmith.evaluation.answering import chosen_items
from tunesmith.evaluation.question import answer_ids, questions
from tunesmith.generation.scoring import Choice, log_probabilities
from tunesmith.run.evaluate import evaluate_labels, label_set
from tunesmith.run.opened import Opened, open_model


@pytest.fixture(scope="module")
def opened(tmp_path_factory: pytest.TempPathFactory) -> Opened:
    return open_model(str(tiny_model(tmp_path_factory.mktemp("model"))), say=lambda text: None)


def asked(text: str, answer: str) -> Example:
    return Example((Message("user", text), Message("assistant", answer)), Origin("f", 1))


def test_a_label_is_scored_as_what_would_be_learned_of_it(opened: Opened) -> None:
    ((*ids, end),) = answer_ids(opened.encoder, ["plum"])
    assert opened.encoder.tokenizer.decode(ids) == "plum"
    assert end in opened.encoder.stop_ids
    encoded = opened.encoder.encode(asked("which?", "plum"))
    assert [int(i) for i in encoded.ids[encoded.weights > 0]] == [*ids, end]


def test_the_likeliest_label_is_the_answer_and_every_label_keeps_its_score(opened: Opened) -> None:
    labels = ["pear", "plum", "fig"]
    some = questions(opened.encoder, [asked("which one?", "plum"), asked("and now?", "rye")], 512)
    items = chosen_items(opened.network(64), opened.encoder, some, labels)
    endings = answer_ids(opened.encoder, labels)
    for question, item in zip(some, items, strict=True):
        alone = [log_probabilities(opened.network(64), [Choice(question.prompt_ids, [e])])[0][0] for e in endings]
        assert list(item.options.values()) == pytest.approx(alone, rel=1e-5)
        assert item.answer == labels[max(range(3), key=alone.__getitem__)]
    assert items[0].nats == pytest.approx(-items[0].options["plum"])
    assert items[1].targets == 0


def test_labels_come_from_the_references_or_from_a_file(opened: Opened, tmp_path: Path) -> None:
    some = questions(opened.encoder, [asked("a", "x"), asked("b", "y"), asked("c", "x")], 512)
    assert label_set("auto", some) == ["x", "y"]
    (tmp_path / "lines.txt").write_text("one\n\ntwo\none\n")
    (tmp_path / "list.json").write_text('["b", "a"]')
    assert label_set(str(tmp_path / "lines.txt"), some) == ["one", "two"]
    assert label_set(str(tmp_path / "list.json"), some) == ["b", "a"]
    (tmp_path / "one.txt").write_text("one")
    with pytest.raises(DataError, match="two or more"):
        label_set(str(tmp_path / "one.txt"), some)


def test_an_evaluation_by_labels_says_how_sure_it_is(opened: Opened, tmp_path: Path) -> None:
    data = chat_file(tmp_path / "words.jsonl", count=12)
    found = evaluate_labels(str(opened.folder), str(data), "auto", say=lambda text: None)
    assert list(found.scores["words"]) == ["choice", "f1_macro", "calibration_error"]
    with pytest.raises(UsageError, match="of the reference alone"):
        evaluate_labels(str(opened.folder), str(data), "auto", metrics=["loss"], say=lambda text: None)
