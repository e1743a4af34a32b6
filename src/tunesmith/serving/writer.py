"""Tokens → text as a client gets it: whole characters, ended before a stop sequence.

The decision: what might be the beginning of a stop sequence is held back until it is sure not to be one, so a stream
never shows what the whole answer would not.
"""

from collections.abc import Callable, Sequence

from tunesmith.generation.pieces import Pieces


class Writer:
    """The text of one answer as it grows; `stopped` once a stop sequence was met."""

    def __init__(self, decode: Callable[[Sequence[int]], str], stops: Sequence[str]) -> None:
        self._pieces, self._stops = Pieces(decode), [stop for stop in stops if stop]
        self._held = ""
        self.stopped = False

    def add(self, token: int) -> str:
        """What may be shown after this token."""
        return "" if self.stopped else self._shown(self._pieces.add(token))

    def rest(self) -> str:
        """What is left to be shown at the end."""
        if self.stopped:
            return ""
        shown = self._shown(self._pieces.rest())
        held, self._held = self._held, ""
        return shown if self.stopped else shown + held

    def _shown(self, piece: str) -> str:
        text = self._held + piece
        places = [at for at in (text.find(stop) for stop in self._stops) if at >= 0]
        if places:
            self.stopped, self._held = True, ""
            return text[: min(places)]
        kept = max((_overlap(text, stop) for stop in self._stops), default=0)
        self._held = text[len(text) - kept :]
        return text[: len(text) - kept]


def _overlap(text: str, stop: str) -> int:
    """How many last characters of `text` begin `stop`."""
    return next((n for n in range(min(len(text), len(stop) - 1), 0, -1) if stop.startswith(text[-n:])), 0)
