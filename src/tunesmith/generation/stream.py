"""Stream: one conversation, token by token, that never reads twice what it has read.

The decision: what was read is compared with the new prompt as token ids. Whatever a template rewrites or the user takes
back, the longest common beginning stays and the rest is read again, so the answer is that of the whole prompt.
"""

from collections.abc import Iterator, Sequence
from typing import Any

from torch import Tensor

from tunesmith.generation import alone
from tunesmith.generation.decode import room_for_answer
from tunesmith.generation.sampling import chosen
from tunesmith.generation.settings import GenerationSettings
from tunesmith.models.context import context_length
from tunesmith.models.head import Head
from tunesmith.models.reader import Opening, Reader
from tunesmith.models.trial import refusal

_ROOM = 512  # the store grows by so many tokens at a time


class Stream:
    """Answers prompts one after the other; each may go on from the one before."""

    def __init__(self, model: Any, settings: GenerationSettings, stop_ids: frozenset[int]) -> None:
        self._model, self._settings, self._stop_ids = model, settings, stop_ids
        head = Head.of(model)
        exact = head is not None and refusal(model, longest=context_length(model.config)) is None
        self._reader = Reader(model, head) if exact and head is not None else None
        self._kept: list[int] = []
        self._turn = 0

    def answer(self, prompt: Sequence[int]) -> Iterator[int]:
        """The tokens of the answer as they are chosen, the end token left out.

        Raises:
            UsageError: the prompt is empty or fills the context.
        """
        limit = room_for_answer(self._model, prompt, self._settings, "The conversation")
        turn, self._turn = self._turn, self._turn + 1
        if self._reader is None:
            ids = alone.answer(self._model, prompt, limit, self._settings, self._stop_ids, turn)
            yield from ids[:-1] if ids[-1] in self._stop_ids else ids
            return
        common = _common(self._kept, prompt[:-1])
        del self._kept[common:]
        following = list(prompt[common:])
        for made in range(limit):
            logits = self._read(self._reader, following)
            (token,) = chosen(logits, self._settings, [(turn, made)])
            if token in self._stop_ids:
                return
            yield token
            following = [token]

    def _read(self, reader: Reader, ids: list[int]) -> Tensor:
        """Logits after reading on. The model is ours for this call only: between two tokens it may be used."""
        with reader.attached():
            needed = len(self._kept) + len(ids)
            if needed > reader.room[1]:
                reader.reserve(1, -(-needed // _ROOM) * _ROOM)
            if reader.slots:
                reader.slots[0].stored = len(self._kept)
                logits = reader.read([ids])
            else:
                logits = reader.read((), [Opening(ids)])
        self._kept += ids
        return logits


def _common(kept: Sequence[int], prompt: Sequence[int]) -> int:
    """How many tokens two sequences begin with in common."""
    least = min(len(kept), len(prompt))
    return next((i for i in range(least) if kept[i] != prompt[i]), least)
