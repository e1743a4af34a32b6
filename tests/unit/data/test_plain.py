"""Examples come back from JSON as they were."""

import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from tunesmith.data.example import Example, Message, Origin, Passage
from tunesmith.data.plain import example_of, plain
from tunesmith.data.portions import pack, unpack

TEXT = st.text(st.characters())  # lone surrogates too, which may stand side by side
VALUE: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats(allow_nan=False) | TEXT,
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(TEXT, inner, max_size=2),
    max_leaves=4,
)
CALLS = st.lists(st.dictionaries(TEXT, VALUE, max_size=2), max_size=2).map(tuple)
WEIGHT = st.floats(0, 4) | st.integers(0, 2)
PARTS = st.lists(st.tuples(st.integers(0, 9), st.integers(0, 9), WEIGHT), max_size=2).map(tuple)
NAME = st.none() | TEXT
MESSAGE = st.builds(Message, TEXT, TEXT) | st.builds(
    Message, TEXT, TEXT, st.none() | WEIGHT, NAME, CALLS, NAME, NAME, PARTS
)
ORIGIN = st.builds(Origin, TEXT, st.integers(1, 2**40))
TALK = st.builds(Example, st.lists(MESSAGE, max_size=3).map(tuple), ORIGIN, CALLS, WEIGHT)


@given(st.lists(TALK | st.builds(Passage, TEXT, ORIGIN), max_size=3))
def test_examples_come_back_as_they_were(examples: list[Example | Passage]) -> None:
    written = json.loads(json.dumps(list(map(plain, examples))))
    packed, _ = unpack(pack({"examples": list(map(plain, examples))}, {}))
    assert [example_of(values) for values in packed["examples"]] == examples
    if not any("\ud800" <= sign <= "\udfff" for sign in repr(examples)):
        assert list(map(example_of, written)) == examples
