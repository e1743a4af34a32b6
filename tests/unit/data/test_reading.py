"""Reading a source: recognition, mapping, messages to the user, and the balance."""

import hashlib
import json
import os
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tunesmith.data.example import Example
from tunesmith.data.reading import Balance, Reading, field_values, read_examples, stream_examples
from tunesmith.errors import DataError, UsageError


def _write(path: Path, rows: list[Any]) -> Path:
    path.write_text("".join((row if isinstance(row, str) else json.dumps(row)) + "\n" for row in rows))
    return path


def _roles(reading: Reading) -> list[list[str]]:
    return [[m.role for m in e.messages] for e in reading.examples if isinstance(e, Example)]


GOOD = {"prompt": "Q", "completion": "A"}


def test_a_broken_line_7_is_named_with_what_is_wrong_there(tmp_path: Path) -> None:
    file = _write(tmp_path / "data.jsonl", [GOOD] * 6 + ['{"prompt": "Q", "completion" "A"}'] + [GOOD] * 3)
    reading = read_examples(file)
    (finding,) = reading.findings
    assert str(finding).startswith(f"{file}:7: not valid JSON at column 30:")
    with pytest.raises(DataError, match=r"data\.jsonl:7: not valid JSON(.|\n)*data\.on_bad_record=drop"):
        reading.refuse()
    reading.refuse(on_bad_record="drop")


def test_a_user_only_conversation_says_what_to_do() -> None:
    reading = read_examples([{"messages": [{"role": "user", "content": "Hi"}]}])
    (finding,) = reading.findings
    assert finding.level == "stop"
    assert str(finding) == (
        "<memory>:1: the conversation ends with the user, so it teaches nothing. "
        "Add the answer, or set data.on_no_target: drop."
    )
    with pytest.raises(DataError):
        reading.refuse(on_bad_record="drop")
    reading.refuse(on_no_target="drop")


def test_unknown_fields_are_listed_with_the_mapping_to_write() -> None:
    with pytest.raises(DataError, match="question, answer") as error:
        read_examples([{"question": "Q", "answer": "A"}])
    assert "try data.fields='{prompt: question, completion: answer}'" in str(error.value)


def test_a_wrong_column_of_a_csv_is_answered_with_the_nearest_mapping(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("text,lable\nhello,greeting\n")
    reading = read_examples(tmp_path / "a.csv", fields={"label": "lable"})
    assert reading.format == "classification"
    (tmp_path / "b.csv").write_text("text,completon\nhello,greeting\n")
    with pytest.raises(DataError, match=r"try data\.fields='\{prompt: text, completion: completon\}'"):
        read_examples(tmp_path / "b.csv", format="prompt_completion")


def test_mapped_fields_are_read_and_findings_use_the_files_names() -> None:
    fields = {"prompt": "question", "completion": "answer"}
    reading = read_examples([{"question": "Q", "answer": "A"}, {"question": "Q", "answer": ""}], fields=fields)
    assert _roles(reading) == [["user", "assistant"]]
    assert [(f.name, f.path) for f in reading.findings] == [("empty-answer", "answer")]


def test_a_mapping_to_a_field_that_is_not_there_is_an_error() -> None:
    with pytest.raises(DataError, match=r"names 'qestion'.*Did you mean 'question'\?"):
        read_examples([{"question": "Q", "completion": "A"}], fields={"prompt": "qestion"})
    with pytest.raises(DataError, match=r"the fields found are: question, reply\."):
        read_examples([{"question": "Q", "reply": "A"}], fields={"prompt": "qestion", "completion": "reply"})
    with pytest.raises(DataError, match="no format has the fields promt"):
        read_examples([GOOD], fields={"promt": "prompt"})


def test_an_unknown_format_is_a_usage_error_with_a_suggestion() -> None:
    with pytest.raises(UsageError, match="Did you mean 'prompt_completion'"):
        read_examples([GOOD], format="prompt-completion")


def test_a_wanted_format_that_does_not_fit_is_an_error() -> None:
    with pytest.raises(DataError, match="do not fit the format 'alpaca'"):
        read_examples([GOOD], format="alpaca")


def test_the_system_message_is_put_before_conversations_without_one() -> None:
    with_own = {"messages": [{"role": "developer", "content": "S"}, *_turns()]}
    reading = read_examples([{"messages": _turns()}, with_own], system="Be kind.")
    assert _roles(reading) == [["system", "user", "assistant"], ["developer", "user", "assistant"]]
    assert isinstance(reading.examples[0], Example)
    assert reading.examples[0].messages[0].content == "Be kind."


def _turns() -> list[dict[str, str]]:
    return [{"role": "user", "content": "Q"}, {"role": "assistant", "content": "A"}]


def test_several_files_may_have_several_formats_but_one_file_may_not(tmp_path: Path) -> None:
    one = _write(tmp_path / "a.jsonl", [GOOD])
    other = _write(tmp_path / "b.jsonl", [{"messages": _turns()}])
    reading = read_examples([one, other])
    assert (reading.format, reading.read, len(reading.examples)) == ("prompt_completion+messages", 2, 2)
    mixed = read_examples(_write(tmp_path / "c.jsonl", [GOOD, GOOD, {"messages": _turns()}]))
    assert [(f.name, f.line) for f in mixed.findings] == [("mixed-formats", 3)]


def test_a_broken_beginning_does_not_mislead_the_recognition(tmp_path: Path) -> None:
    rows = ["{broken", {"oops": 1}, *[{"messages": _turns()}] * 5]
    reading = read_examples(_write(tmp_path / "a.jsonl", rows))
    assert reading.format == "messages"
    assert reading.dropped == {"bad-json": 1, "no-format": 1}


def test_the_fingerprint_of_one_file_is_its_sha256(tmp_path: Path) -> None:
    file = _write(tmp_path / "a.jsonl", [GOOD])
    assert read_examples(file).sha256 == hashlib.sha256(file.read_bytes()).hexdigest()
    assert read_examples([GOOD]).sha256 != read_examples([GOOD, GOOD]).sha256


def test_the_values_of_a_field_are_found_by_the_origin_of_the_examples() -> None:
    rows: list[dict[str, object]] = [{**GOOD, "customer": 7}, {**GOOD}]
    values = field_values(rows, "customer")
    assert [values[e.origin] for e in read_examples(rows).examples] == [7, None]


def test_nothing_to_read_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "blank.jsonl").write_text("\n\n\n")
    (tmp_path / "header.csv").write_text("prompt,completion\n")
    (tmp_path / "list.json").write_text("[]")
    for name in ("blank.jsonl", "header.csv", "list.json"):
        with pytest.raises(DataError, match="holds no record"):
            read_examples(tmp_path / name)
    with pytest.raises(DataError):
        read_examples([])


def test_findings_are_capped_but_counted(tmp_path: Path) -> None:
    reading = read_examples(_write(tmp_path / "a.jsonl", [GOOD] + ["{"] * 1500))
    assert len(reading.findings) == 1000
    assert reading.totals == {"bad-json": 1500}
    with pytest.raises(DataError, match="1500 findings in 1501 records"):
        reading.refuse()


_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)
_roles_written = st.sampled_from(["system", "user", "assistant", "tool", "human", "nobody"])
_written = st.fixed_dictionaries({}, optional={"role": _roles_written, "content": _values, "weight": _values})
_records = st.one_of(
    st.fixed_dictionaries({"messages": st.lists(_written | _values, max_size=4)}, optional={"tools": _values}),
    st.fixed_dictionaries({"conversations": st.lists(_written | _values, max_size=4)}),
    st.fixed_dictionaries({"prompt": _values, "completion": _values}, optional={"history": _values}),
    st.fixed_dictionaries({"text": _values}, optional={"label": _values}),
    _values,
)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(_records, min_size=1, max_size=6))
def test_whatever_the_records_hold_each_is_an_example_or_counted_as_dropped(records: list[Any]) -> None:
    try:
        reading = read_examples([*records, GOOD])
    except DataError:
        return
    used = {e.origin.line for e in reading.examples}
    assert reading.read == len(records) + 1 == len(used) + sum(reading.dropped.values())
    assert sum(reading.dropped.values()) == len({f.line for f in reading.findings if f.level == "stop"})


def test_streaming_gives_what_reading_gives(tmp_path: Path) -> None:
    file = _write(tmp_path / "a.jsonl", [GOOD] * 3 + ["{"] + [GOOD] * 200)
    reading, balance = read_examples(file), Balance()
    items = list(stream_examples(file, balance))
    assert [i for i in items if isinstance(i, Example)] == list(reading.examples)
    assert (balance.read, balance.dropped) == (reading.read, Counter(reading.dropped))


DATA = Path(os.environ.get("TUNESMITH_DATA", Path(__file__).parents[4] / "shared" / "data"))
REAL = {
    "alpaca_5k/alpaca_5000.json": ("alpaca", 5000, {"empty-answer": 2}),
    "lima/lima.json": ("alpaca", 1029, {}),
    "banking77/train.csv": ("classification", 10003, {}),
    "llamafactory_demo/glaive_toolcall_en_demo.json": ("sharegpt", 300, {}),
    "llamafactory_demo/reason_tool_use_demo_50.jsonl": ("messages", 50, {}),
    "llamafactory_demo/v1_sft_demo.jsonl": ("messages", 500, {}),
    "llamafactory_demo/c4_demo.jsonl": ("text", 300, {}),
}


@pytest.mark.parametrize("name", REAL)
def test_real_files_are_read_whole(name: str) -> None:
    if not (DATA / name).is_file():
        pytest.skip(f"{DATA / name} is absent")
    reading = read_examples(DATA / name)
    assert (reading.format, reading.read, reading.dropped) == REAL[name]
