"""Text that ends before a stop sequence."""

import pytest

from tunesmith.serving.writer import Writer


@pytest.mark.parametrize(
    ("text", "stops", "shown"),
    [
        ("abcdef", ["cd"], "ab"),
        ("abcdef", ["cx"], "abcdef"),
        ("aab", ["ab"], "a"),
        ("abc", [], "abc"),
        ("ab", ["abc"], "ab"),
    ],
)
def test_a_stream_shows_what_the_whole_answer_would(text: str, stops: list[str], shown: str) -> None:
    writer = Writer(lambda ids: "".join(map(chr, ids)), stops)
    assert "".join([*(writer.add(ord(c)) for c in text), writer.rest()]) == shown


def test_a_character_of_several_tokens_is_never_split() -> None:
    writer = Writer(lambda ids: bytes(ids).decode("utf-8", "replace"), [])
    pieces = [writer.add(byte) for byte in "aé€".encode()]
    assert pieces == ["a", "", "é", "", "", "€"]
