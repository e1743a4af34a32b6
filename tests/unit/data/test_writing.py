"""What is written is read back as the same, and what cannot be said is left out aloud."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tunesmith.data.example import Example, Message, Origin, Passage
from tunesmith.data.reading import read_examples
from tunesmith.data.writing import FORMS, write_examples
from tunesmith.errors import UsageError

HERE = Origin("a.jsonl", 1)
SYSTEM, Q, A = Message("system", "Be kind."), Message("user", "Q"), Message("assistant", "A")
CALL = {"type": "function", "function": {"name": "f", "arguments": {"x": 1}}}
TOOL = {"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}
TALKS = {
    "single": Example((Q, A), HERE),
    "system": Example((SYSTEM, Q, A), HERE),
    "several": Example((SYSTEM, Q, A, Q, A), HERE),
    "weighted": Example((Q, replace(A, weight=0.0), Q, replace(A, weight=1.0)), HERE),
    "half": Example((Q, replace(A, weight=0.5)), HERE),
    "tools": Example((Q, Message("assistant", "", tool_calls=(CALL,)), Message("tool", "R"), A), HERE, tools=(TOOL,)),
    "reasoning": Example((Q, replace(A, reasoning="because")), HERE),
    "whole weight": Example((Q, A), HERE, weight=2.0),
}
SAYS = {
    "messages": set(TALKS),
    "openai": {"single", "system", "several", "weighted", "tools"},
    "azure": {"single", "system", "several", "weighted", "tools"},
    "prompt_completion": {"single", "system"},
    "alpaca": {"single", "system", "several"},
    "sharegpt": {"single", "system", "several", "weighted", "half", "tools"},
    "vertex": {"single", "system", "several"},
    "sagemaker": {"single", "system"},
}


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("talk", TALKS)
def test_a_form_gives_the_example_back_or_says_that_it_cannot(form: str, talk: str, tmp_path: Path) -> None:
    file = tmp_path / "out.jsonl"
    written = write_examples([TALKS[talk], TALKS["single"]], file, form)
    if talk not in SAYS[form]:
        assert (written.examples, [f.name for f in written.findings]) == (1, ["not-expressible"])
        return
    assert (written.examples, written.findings) == (2, ())
    if form == "vertex":
        return
    back = read_examples(file).examples[0]
    assert isinstance(back, Example)
    if form == "sagemaker" and talk == "system":
        assert back.messages == (Message("user", "Be kind.\n\nQ"), A)
    else:
        assert replace(back, origin=HERE) == TALKS[talk]


def _written(example: Example, form: str, folder: Path) -> tuple[bytes, dict[str, Any]]:
    file = folder / "out.jsonl"
    write_examples([example], file, form)
    raw = file.read_bytes()
    return raw, json.loads(raw.decode("utf-8-sig"))


def test_vertex_has_contents_with_parts_and_the_model_as_role(tmp_path: Path) -> None:
    _, row = _written(TALKS["system"], "vertex", tmp_path)
    assert row == {
        "systemInstruction": {"role": "system", "parts": [{"text": "Be kind."}]},
        "contents": [{"role": "user", "parts": [{"text": "Q"}]}, {"role": "model", "parts": [{"text": "A"}]}],
    }


def test_azure_opens_with_a_byte_order_mark_and_openai_does_not(tmp_path: Path) -> None:
    (tmp_path / "azure").mkdir()
    assert _written(TALKS["single"], "azure", tmp_path / "azure")[0].startswith(b"\xef\xbb\xbf{")
    assert _written(TALKS["single"], "openai", tmp_path)[0].startswith(b"{")


def test_sagemaker_gets_its_template(tmp_path: Path) -> None:
    write_examples([TALKS["single"]], tmp_path / "train.jsonl", "sagemaker")
    assert json.loads((tmp_path / "template.json").read_text()) == {"prompt": "{prompt}", "completion": "{completion}"}


def test_text_is_written_as_text_or_left_out(tmp_path: Path) -> None:
    passage = Passage("words", HERE)
    assert write_examples([passage], tmp_path / "a.jsonl").examples == 1
    assert read_examples(tmp_path / "a.jsonl").format == "text"
    assert write_examples([passage], tmp_path / "b.jsonl", "alpaca").findings[0].name == "not-expressible"


def test_a_file_is_never_overwritten(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text("precious")
    with pytest.raises(UsageError, match="never overwritten"):
        write_examples([TALKS["single"]], tmp_path / "a.jsonl")
    assert (tmp_path / "a.jsonl").read_text() == "precious"
    with pytest.raises(UsageError, match="no form 'gpt4'"):
        write_examples([], tmp_path / "b.jsonl", "gpt4")
