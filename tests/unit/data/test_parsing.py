"""The strict reader agrees with the standard library and is silent on clean text."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tunesmith.data.example import Origin
from tunesmith.data.parsing import parse

HERE = Origin("a.jsonl", 1)
_clean = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats(-1e15, 1e15) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
)


@given(_clean, st.booleans(), st.sampled_from([None, 1]))
def test_clean_json_is_read_as_it_is_without_a_finding(value: Any, ascii_only: bool, indent: int | None) -> None:
    raw = json.dumps(value, ensure_ascii=ascii_only, indent=indent).encode()
    assert parse(raw, HERE) == (value, [])


@given(st.text(), st.text())
def test_a_repeated_key_is_always_found(key: str, text: str) -> None:
    pair = f"{json.dumps(key)}: {json.dumps(text)}"
    value, findings = parse(f"{{{pair}, {pair}}}".encode(), HERE)
    assert value is None
    assert [f.name for f in findings] == ["duplicate-key"]


@given(st.integers(2**64, 10**4000) | st.integers(-(10**4000), -(2**63) - 1))
def test_an_integer_beyond_64_bits_is_kept_exactly_and_found(number: int) -> None:
    value, findings = parse(f'{{"n": {number}}}'.encode(), HERE)
    assert value == {"n": number}
    assert [f.name for f in findings] == ["huge-integer"]


@given(st.binary(max_size=40))
def test_any_bytes_give_a_value_or_a_finding(raw: bytes) -> None:
    value, findings = parse(raw, HERE)
    assert value is None or not any(f.level == "stop" for f in findings)


@pytest.mark.parametrize(
    ("raw", "words"),
    [
        ("{'a': 1}", "JSON needs double quotes"),
        ('{"a": None}', "JSON writes null"),
        ('{"a": 1}{"b": 2}', "Two records on one line"),
        ('{"a": "b', "ends in the middle"),
        ('{"a": 1' + "\0" * 9, "NUL bytes"),
        ("{", "one record over several lines"),
    ],
)
def test_the_message_guesses_how_the_fault_came_about(raw: str, words: str) -> None:
    _, (finding,) = parse(raw.encode(), HERE)
    assert words in finding.message
    assert "column" in finding.message
