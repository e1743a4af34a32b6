"""What `tunesmith data show` says where, against a stand-in of the tokens room."""

import json
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
from rich.text import Text

from tunesmith.cli import data
from tunesmith.cli.main import run


@pytest.fixture(autouse=True)
def tokens(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Examples shown as their first message, without a tokenizer."""

    def show(_: object, example: object, *, window: int) -> list[SimpleNamespace]:
        text = example.messages[0].content  # type: ignore[attr-defined]
        return [SimpleNamespace(origin="a.jsonl:1", as_json=lambda: {"text": text, "window": window}, text=text)]

    shown = SimpleNamespace(
        show=show, to_html=lambda some, title: f"{title}: {len(some)}", to_terminal=lambda one: Text(one.text)
    )
    monkeypatch.setitem(sys.modules, "tunesmith.tokens.show", shown)
    monkeypatch.setitem(sys.modules, "tunesmith.tokens.encode", SimpleNamespace(Encoder=lambda *_, **__: None))
    tokenizer = SimpleNamespace(Tokenizer=SimpleNamespace(load=lambda folder: folder))
    monkeypatch.setitem(sys.modules, "tunesmith.tokens.tokenizer", tokenizer)
    monkeypatch.setattr(data, "weights_folder", lambda _: tmp_path)


@pytest.fixture
def file(tmp_path: Path) -> str:
    """Four conversations."""
    turns = [[{"role": "user", "content": f"q{i}"}, {"role": "assistant", "content": "a"}] for i in range(4)]
    path = tmp_path / "a.jsonl"
    path.write_text("".join(json.dumps({"messages": messages}) + "\n" for messages in turns))
    return str(path)


def test_so_many_examples_are_shown_as_asked_for(file: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["data", "show", file, "-n", "2"]) == 0
    assert capsys.readouterr().out.split() == ["q0", "q1"]


def test_json_is_one_object_a_line(file: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["data", "show", file, "--json"]) == 0
    assert [json.loads(line)["text"] for line in capsys.readouterr().out.splitlines()] == ["q0", "q1", "q2"]


def test_a_page_is_written_and_its_path_printed(file: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    page = tmp_path / "page.html"
    assert run(["data", "show", file, "--html", str(page)]) == 0
    assert capsys.readouterr().out == f"{page}\n"
    assert page.read_text().startswith("a.jsonl as smollm2-135m-instruct sees it: 3")


def test_a_missing_file_is_a_fault_of_the_data(tmp_path: Path) -> None:
    assert run(["data", "show", str(tmp_path / "none.jsonl")]) == 3
