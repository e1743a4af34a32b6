"""Tokens → text, piece by piece, without ever splitting a character.

The decision: a token may hold a part of a character (bytes of UTF-8), or be written otherwise beside its neighbours.
So a piece is what the text grew by when the tokens since the last piece are read behind the ones before; while it ends
in the middle of a character, it is held back.
"""

from collections.abc import Callable, Sequence

BROKEN = "\ufffd"


class Pieces:
    """The text of an answer as it grows; the pieces together are the text of all its tokens."""

    def __init__(self, decode: Callable[[Sequence[int]], str]) -> None:
        self._decode = decode
        self._before: list[int] = []  # the tokens of the last piece, in whose company the next are read
        self._held: list[int] = []

    def add(self, token: int) -> str:
        """What this token adds; empty while a character is incomplete."""
        self._held.append(token)
        new = self._new()
        if not new or new.endswith(BROKEN):
            return ""
        self._before, self._held = self._held, []
        return new

    def rest(self) -> str:
        """What is still held back when no token follows, broken characters as U+FFFD."""
        new = self._new() if self._held else ""
        self._before, self._held = [], []
        return new

    def _new(self) -> str:
        return self._decode([*self._before, *self._held])[len(self._decode(self._before)) :]
