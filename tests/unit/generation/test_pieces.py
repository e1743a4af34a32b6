from collections.abc import Sequence

from hypothesis import given
from hypothesis import strategies as st

from tunesmith.generation.pieces import Pieces


def bytewise(ids: Sequence[int]) -> str:
    return bytes(ids).decode("utf-8", "replace")


@given(st.text(max_size=30))
def test_pieces_are_the_text_and_never_half_a_character(text: str) -> None:
    pieces = Pieces(bytewise)
    found = [pieces.add(byte) for byte in text.encode()]
    found.append(pieces.rest())
    assert "".join(found) == text
    assert all("\ufffd" not in piece for piece in found) or "\ufffd" in text


def test_a_character_that_never_ends_is_shown_broken_at_the_end() -> None:
    pieces = Pieces(bytewise)
    assert [pieces.add(byte) for byte in "aé".encode()[:-1]] == ["a", ""]
    assert pieces.rest() == "\ufffd"


def test_a_space_that_only_neighbours_bring_out_is_kept() -> None:
    pieces = Pieces(lambda ids: " ".join(map(str, ids)))
    assert [pieces.add(token) for token in (7, 8, 9)] == ["7", " 8", " 9"]
