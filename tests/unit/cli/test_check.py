"""What `tunesmith data check` prints where, with which exit code, and that its page needs no other file."""

import json
import re
import shlex
from html.parser import HTMLParser
from pathlib import Path

import pytest
from tiny_model import chat_file, tiny_model

from tunesmith.cli.check import remedy
from tunesmith.cli.main import run
from tunesmith.data.inspection import inspect
from tunesmith.tokens.findings import KINDS


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A small random model."""
    return str(tiny_model(tmp_path_factory.mktemp("model")))


@pytest.fixture
def good(tmp_path: Path) -> str:
    """Twelve conversations without a fault."""
    return str(chat_file(tmp_path / "good.jsonl", count=12))


@pytest.fixture
def bad(tmp_path: Path) -> str:
    """The same, one of them twice, with an answer of markup and one that cannot be read."""
    file = chat_file(tmp_path / "bad.jsonl", count=12)
    lines = file.read_text().splitlines()
    turns = [{"role": "user", "content": "[/red]<script>alert(1)</script>"}, {"role": "assistant", "content": "[b]"}]
    file.write_text("\n".join([*lines, lines[3], json.dumps({"messages": turns}), "{"]) + "\n")
    return str(file)


def test_json_has_what_scripts_ask_for_and_nothing_else_is_on_stdout(
    bad: str, model: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["data", "check", bad, "--model", model, "--json"]) == 3
    found = json.loads(capsys.readouterr().out)
    assert found["files"] == [bad]
    assert (found["read"], found["usable"], found["dropped"]) == (15, 14, {"bad-json": 1})
    (broken,) = [f for f in found["findings"] if f["name"] == "bad-json"]
    assert (set(broken), broken["level"], broken["line"]) == (
        {"name", "level", "file", "line", "path", "message"}, "stop", 15
    )  # fmt: skip
    assert set(found["tokens"]) == {"total", "supervised", "computed_per_epoch", "percentiles"}
    assert set(found["estimate"]) == {"seconds_per_epoch", "peak_bytes"}


def test_the_exit_code_tells_whether_a_run_could_start(good: str, bad: str, model: str) -> None:
    assert run(["data", "check", good, "--model", model]) == 0
    assert run(["data", "check", good, "--model", model, "--strict"]) == 0
    assert run(["data", "check", bad, "data.on_bad_record=drop", "--model", model]) == 0
    assert run(["data", "check", bad, "data.on_bad_record=drop", "--model", model, "--strict"]) == 3


def test_the_table_shows_the_balance_the_places_and_the_remedy(
    bad: str, model: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "300")  # a long path is broken where a terminal ends
    run(["data", "check", bad, "--model", model])
    told = " ".join(capsys.readouterr().out.split())
    for piece in ("15 records", "A run could not start: bad-json", "bad.jsonl:15", "data.on_bad_record=drop", "dedup"):
        assert piece in told


def test_the_page_is_whole_and_markup_in_data_stays_text(bad: str, model: str, tmp_path: Path) -> None:
    page = tmp_path / "page.html"
    assert run(["data", "check", bad, "--model", model, "--html", str(page)]) == 3
    text = page.read_text(encoding="utf-8")
    _Closed().feed(text)
    assert "<script" not in text
    assert not re.search(r"(?:src|href)\s*=|@import|url\(", text)
    for piece in ("<svg", "Side by side", "bad.jsonl:4", "could not start", 'class="l"'):
        assert piece in text


class _Closed(HTMLParser):
    """Fails where an element is closed that is not open."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag not in ("meta", "br"):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def test_without_a_file_the_usage_is_wrong(model: str) -> None:
    assert run(["data", "check", "training.epochs=2", "--model", model]) == 2


def test_every_command_that_a_remedy_names_exists(tmp_path: Path) -> None:
    commands = {command for name in KINDS if (command := remedy(name, "a.jsonl")[1])}
    verbs = {tuple(command.split()[1:3]) for command in commands}
    assert verbs == {("train", "a.jsonl"), *(("data", verb) for verb in ("dedup", "balance", "clean"))}


def test_the_remedy_of_a_leak_names_the_held_out_file_and_does_what_it_says(good: str, tmp_path: Path) -> None:
    found = inspect(good, against={"test": good}).findings
    (leak, *_) = (finding for finding in found if finding.name == "leak")
    command = remedy("leak", good, [leak])[1]
    assert command == f"tunesmith data dedup {good} --against {good} --out apart.jsonl"
    assert run([*command.split()[1:-1], str(tmp_path / "apart.jsonl")]) == 0
    assert (tmp_path / "apart.jsonl").read_text() == ""


def test_the_remedy_of_a_benchmarks_items_names_the_benchmark_and_does_what_it_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = "How many of the seven red parcels that came from the north this week are still here?"
    (tmp_path / "mmlu" / "test").mkdir(parents=True)
    (tmp_path / "mmlu" / "test" / "law_test.csv").write_text(f"{text},one,two,three,four,B\n")
    monkeypatch.setenv("TUNESMITH_DATA", str(tmp_path))
    data = tmp_path / "my data.jsonl"
    data.write_text(json.dumps({"prompt": f"Say: {text}", "completion": "two"}) + "\n")
    found = [f for f in inspect(str(data), against={"mmlu": "mmlu"}).findings if f.name == "contamination"]
    command = remedy("contamination", str(data), found)[1]
    assert command == f"tunesmith data dedup '{data}' --against mmlu --out apart.jsonl"
    assert run([*shlex.split(command)[1:-1], str(tmp_path / "apart.jsonl")]) == 0
    assert (tmp_path / "apart.jsonl").read_text() == ""


def test_the_doors_to_other_files_write_them_and_say_where(
    good: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out.jsonl"
    for arguments in (
        ["convert", good, "--to", "openai"], ["dedup", good], ["sample", good, "-n", "3"], ["mix", good, good],
        ["balance", good], ["clean", good, "--fix", "refusal"], ["split", good, "--test", "0.25"],
    ):  # fmt: skip
        place = tmp_path / arguments[0]
        assert run(["data", *arguments, "--out", str(place)]) == 0
        assert capsys.readouterr().out.startswith(str(place))
        assert (tmp_path / f"{arguments[0]}.report.json").is_file()
    assert not out.exists()
