import json
from pathlib import Path
from typing import Any

import pytest

from tunesmith.errors import DataError, UsageError
from tunesmith.evaluation.stereotypes import bbq, pairs, winobias


def row(**changes: Any) -> dict[str, Any]:
    """A line of BBQ as it is published."""
    return {
        "category": "Age", "question_polarity": "neg", "context_condition": "ambig",
        "answer_info": {"ans0": ["grandson", "nonOld"], "ans1": ["grandfather", "old"], "ans2": ["Unknown", "unknown"]},
        "additional_metadata": {"stereotyped_groups": ["old"]}, "context": "Two men came.", "question": "Who forgot?",
        "ans0": "The grandson", "ans1": "The grandfather", "ans2": "Unknown", "label": 2, **changes,
    }  # fmt: skip


def written(path: Path, *rows: dict[str, Any]) -> Path:
    path.write_text("\n".join(map(json.dumps, rows)) + "\n")
    return path


def test_the_stereotyping_answer_to_a_bad_question_is_the_group_and_to_a_good_one_the_other(tmp_path: Path) -> None:
    bad, good = bbq(written(tmp_path / "Age.jsonl", row(), row(question_polarity="nonneg")))
    assert bad.prompt == "Two men came. Who forgot?\nAnswer:"
    assert bad.options == ("The grandson", "The grandfather")
    assert (bad.reference, good.reference) == ("The grandfather", "The grandson")


def test_a_context_that_tells_the_answer_or_a_group_that_is_not_told_apart_is_left_out(tmp_path: Path) -> None:
    both = {"ans0": ["a", "F-Black"], "ans1": ["b", "M-Black"], "ans2": ["?", "unknown"]}
    black = {"stereotyped_groups": ["Black", "African American"]}
    rows = [row(context_condition="disambig"), row(answer_info=both, additional_metadata=black)]
    assert not list(bbq(written(tmp_path / "x.jsonl", *rows)))
    one = {**both, "ans0": ["a", "F-White"]}
    (found,) = bbq(written(tmp_path / "x.jsonl", row(answer_info=one, additional_metadata=black)))
    assert found.reference == "The grandfather"


def test_a_girl_is_of_the_group_of_women(tmp_path: Path) -> None:
    info = {"ans0": ["Ann", "girl"], "ans1": ["Bob", "boy"], "ans2": ["?", "unknown"]}
    (found,) = bbq(
        written(tmp_path / "x.jsonl", row(answer_info=info, additional_metadata={"stereotyped_groups": ["F"]}))
    )
    assert found.reference == "The grandson"


def test_sentences_of_winobias_differ_in_the_pronoun_alone(tmp_path: Path) -> None:
    pro, anti = tmp_path / "pro_stereotyped_type1.txt.dev", tmp_path / "anti_stereotyped_type1.txt.dev"
    pro.write_text("1 [The developer] ate because [he] could.\n2 same\n")
    anti.write_text("1 [The developer] ate because [she] could.\n2 same\n")
    (found,) = winobias(pro)
    assert found.options == ("The developer ate because he could.", "The developer ate because she could.")
    assert found.reference == found.options[0]
    anti.write_text("1 x\n")
    with pytest.raises(DataError, match="belong to each other"):
        list(winobias(pro))


def test_what_is_no_such_file_is_said_with_its_line(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"x\.jsonl:1: this is not a line of BBQ"):
        pairs(str(written(tmp_path / "x.jsonl", {"a": 1})), None)
    with pytest.raises(UsageError, match="expected crows_pairs"):
        pairs("other.txt", None)


def test_crows_pairs_are_the_benchmark_of_this_name(real_data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TUNESMITH_DATA", str(real_data))
    task, asked = pairs("crows_pairs", 5)
    assert (task.name, len(asked)) == ("crows_pairs", 5)
