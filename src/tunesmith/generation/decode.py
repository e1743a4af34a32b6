"""generate: prompts as token ids in, answers as token ids out.

The decision: one loop. Each turn reads one token for every answer in progress and, where room became free, the whole
prompt of the next ones, so short answers never wait for long ones. Prompts that share a beginning stand on one copy of
it. A model that does not pass the trial is generated from by transformers itself, with the same choice of tokens.
"""

from collections import Counter, deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Literal

from torch import Tensor

from tunesmith.errors import UsageError
from tunesmith.generation import alone
from tunesmith.generation.sampling import chosen
from tunesmith.generation.settings import GenerationSettings
from tunesmith.generation.shared import grouped
from tunesmith.models.context import context_length
from tunesmith.models.decoding import Trunk
from tunesmith.models.head import Head
from tunesmith.models.reader import Opening, Reader
from tunesmith.models.trial import refusal

PREFILL_TOKENS = 1024
"""Most prompt tokens read beside the answers in progress; one longer prompt is still read at once."""

OnToken = Callable[[int, int], None]
Ended = Callable[[Sequence[int]], bool]
"""Whether an answer with these tokens is at its end, though no end token came."""


@dataclass(frozen=True, slots=True)
class Completion:
    """An answer: its tokens without the end token, and whether it stopped by itself or was cut by its length."""

    ids: tuple[int, ...]
    finished: Literal["stop", "length"]


def generate(
    model: Any,
    prompts: Sequence[Sequence[int]],
    *,
    settings: GenerationSettings,
    stop_ids: frozenset[int],
    on_token: OnToken | None = None,
    ended: Ended | None = None,
) -> list[Completion]:
    """The answer to each prompt, in the order given.

    `on_token(place of the prompt, token)` is called for every token as it is chosen, the end token excluded. An answer
    never goes beyond the model's context, and stops as soon as `ended` says so of its tokens.

    Raises:
        UsageError: a prompt is empty or fills the context.
    """
    limits = [room_for_answer(model, ids, settings, f"Prompt {n}") for n, ids in enumerate(prompts, start=1)]
    if not prompts:
        return []
    longest = max(len(ids) + limit for ids, limit in zip(prompts, limits, strict=True))
    tell, over = on_token or _silent, ended or _never
    if refusal(model, longest=longest) is not None:
        return [
            _completion(
                alone.answer(model, ids, limit, settings, stop_ids, number, (partial(tell, number), over)),
                stop_ids,
                over,
            )
            for number, (ids, limit) in enumerate(zip(prompts, limits, strict=True))
        ]
    head = Head.of(model)
    assert head is not None  # the trial refuses a model without one
    return _Hall(Reader(model, head), _waiting(prompts, limits), settings, stop_ids, tell, over).run(len(prompts))


def room_for_answer(model: Any, prompt: Sequence[int], settings: GenerationSettings, name: str) -> int:
    """How many tokens the answer to a prompt may have; `name` says in an error which prompt it is.

    Raises:
        UsageError: the prompt is empty or fills the context.
    """
    if not prompt:
        raise UsageError(f"{name} is empty, so there is nothing to go on from. Give it at least one token.")
    most = context_length(model.config)
    if len(prompt) >= most:
        raise UsageError(
            f"{name} has {len(prompt):,} tokens and the model's context is {most:,}, which leaves no room for an "
            "answer. Shorten it."
        )
    return min(settings.max_new_tokens, most - len(prompt))


def _completion(ids: Sequence[int], stop_ids: frozenset[int], ended: Ended) -> Completion:
    if ids and ids[-1] in stop_ids:
        return Completion(tuple(ids[:-1]), "stop")
    return Completion(tuple(ids), "stop" if ended(ids) else "length")


def _silent(number: int, token: int) -> None:
    return


def _never(ids: Sequence[int]) -> bool:
    return False


@dataclass(slots=True, eq=False)
class _Answer:
    """An answer waiting or in progress: the prompt above the trunk, and what was chosen so far."""

    number: int
    opening: Opening
    limit: int
    ids: list[int] = field(default_factory=list)

    @property
    def room(self) -> int:
        """Own tokens to be stored at most; the last one chosen is never read."""
        return len(self.opening.ids) + self.limit - 1


def _waiting(prompts: Sequence[Sequence[int]], limits: Sequence[int]) -> deque[_Answer]:
    """The answers in the order of their beginning: those on one trunk together, longest prompts first."""
    answers = []
    for group in grouped(prompts):
        trunk = Trunk(prompts[group.members[0]][: group.length]) if group.length else None
        found = [_Answer(i, Opening(prompts[i][group.length :], trunk), limits[i]) for i in group.members]
        answers.append(sorted(found, key=lambda answer: -len(answer.opening.ids)))
    return deque(answer for group in sorted(answers, key=lambda group: -group[0].room) for answer in group)


class _Hall:
    """The answers waiting and in progress; slot i of the reader belongs to `_live[i]`."""

    def __init__(
        self,
        reader: Reader,
        waiting: deque[_Answer],
        settings: GenerationSettings,
        stop_ids: frozenset[int],
        on_token: OnToken,
        ended: Ended,
    ) -> None:
        self._reader, self._waiting, self._settings = reader, waiting, settings
        self._stop_ids, self._on_token, self._ended = stop_ids, on_token, ended
        self._live: list[_Answer] = []
        self._above = Counter(answer.opening.trunk for answer in waiting if answer.opening.trunk)
        self._done: dict[int, Completion] = {}

    def run(self, count: int) -> list[Completion]:
        """All completions, in the order of the prompts."""
        with self._reader.attached():
            while self._waiting or self._live:
                going_on = [[answer.ids[-1]] for answer in self._live]
                begun = self._begin()
                logits = self._reader.read(going_on, [answer.opening for answer in begun])
                self._live += begun
                self._choose(logits)
        return [self._done[number] for number in range(count)]

    def _begin(self) -> list[_Answer]:
        """Take the next answers while there is room, and make that room."""
        begun: list[_Answer] = []
        trunks = {answer.opening.trunk for answer in self._live} - {None}
        prefill = 0
        while self._waiting:
            following = self._waiting[0]
            trunk = following.opening.trunk
            new = len(trunk.ids) if trunk is not None and trunk not in trunks else 0
            prefill += new + len(following.opening.ids)
            together = [*self._live, *begun, following]
            stored = sum(len(t.ids) for t in trunks if t is not None) + new
            full = len(together) > self._settings.concurrency or prefill > PREFILL_TOKENS
            full = full or stored + _area(together) > self._settings.cache_tokens
            if full and len(together) > 1:
                break
            trunks.add(trunk)
            begun.append(self._waiting.popleft())
        self._make_room([*self._live, *begun], begun)
        return begun

    def _make_room(self, together: Sequence[_Answer], begun: Sequence[_Answer]) -> None:
        slots, capacity = self._reader.room
        needed = max(answer.room for answer in together)
        if begun and (len(together) > slots or needed > capacity):
            more = min(self._settings.concurrency, len(together) + len(self._waiting))
            trunks = {answer.opening.trunk for answer in together if answer.opening.trunk is not None}
            left = self._settings.cache_tokens - sum(len(trunk.ids) for trunk in trunks)
            self._reader.reserve(max(len(together), min(more, left // needed)), needed)

    def _choose(self, logits: Tensor) -> None:
        places = [(answer.number, len(answer.ids)) for answer in self._live]
        tokens = chosen(logits, self._settings, places)
        for answer, token in zip(self._live, tokens, strict=True):
            answer.ids.append(token)
            if token not in self._stop_ids:
                self._on_token(answer.number, token)
        for slot in reversed(range(len(self._live))):
            answer = self._live[slot]
            if answer.ids[-1] in self._stop_ids or len(answer.ids) == answer.limit or self._ended(answer.ids):
                self._end(slot)

    def _end(self, slot: int) -> None:
        answer, last = self._live[slot], self._live.pop()
        if slot < len(self._live):
            self._live[slot] = last
        self._reader.drop(slot)
        self._done[answer.number] = _completion(answer.ids, self._stop_ids, self._ended)
        trunk = answer.opening.trunk
        if trunk is not None:
            self._above[trunk] -= 1
            if not self._above[trunk]:
                trunk.layers.clear()


def _area(answers: Sequence[_Answer]) -> int:
    """Tokens of store that these answers need at most."""
    return len(answers) * max(answer.room for answer in answers)
