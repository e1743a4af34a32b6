"""The engine: one base model, the requests of all its tuned models, one running batch.

The decision: requests come and go between two tokens. Each turn reads one token for every answer in progress and the
whole prompts of those that begin, under each one's own adapter; what is chosen depends on nothing that runs beside it.
One thread owns the model. A model that the reader does not compute exactly answers one request at a time.
"""

import logging
import threading
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from tunesmith.errors import RequestError
from tunesmith.generation.sampling import chosen
from tunesmith.models.alone import go_on
from tunesmith.models.bank import Bank
from tunesmith.models.context import context_length
from tunesmith.models.head import Head
from tunesmith.models.reader import Opening, Reader
from tunesmith.models.trial import refusal
from tunesmith.serving.asking import Ask, End, Token
from tunesmith.serving.prefixes import Prefixes

log = logging.getLogger("tunesmith.serving")
PREFILL_TOKENS = 1024
"""Most prompt tokens read beside the answers in progress; one longer prompt is still read at once."""


class Engine:
    """A model at work in a thread of its own."""

    def __init__(self, model: Any, *, concurrency: int = 16, waiting: int = 64, cache_tokens: int = 32768) -> None:
        self._model, self._bank = model, Bank(model)
        self.context = context_length(model.config)
        head = Head.of(model)
        exact = head is not None and refusal(model, longest=self.context) is None
        self._reader = Reader(model, head) if exact and head is not None else None
        self._prefixes = Prefixes(cache_tokens // 4)
        self._concurrency, self._most_waiting, self._cache = concurrency, waiting, cache_tokens
        self._waiting: deque[Ask] = deque()
        self._live: list[Ask] = []
        self._orders: deque[Callable[[], None]] = deque()
        self._wake = threading.Condition()
        self._closed = False
        self._thread = threading.Thread(target=self._run, name="engine", daemon=True)
        self._thread.start()

    @property
    def load(self) -> tuple[int, int]:
        """How many answers are in progress, and how many wait."""
        return len(self._live), len(self._waiting)

    def ask(self, asks: Sequence[Ask]) -> None:
        """Begin these answers as soon as there is room.

        Raises:
            RequestError: a prompt leaves no room in the context (400), or too many wait already (429).
        """
        for ask in asks:
            if len(ask.prompt) + 1 > self.context:
                raise RequestError(
                    f"This model's maximum context length is {self.context} tokens. However, your messages resulted "
                    f"in {len(ask.prompt)} tokens. Please reduce the length of the messages.",
                    param="messages",
                    code="context_length_exceeded",
                )
        with self._wake:
            if len(self._waiting) + len(asks) > self._most_waiting:
                raise RequestError("Too many requests are waiting.", status=429, code="queue_full")
            self._waiting.extend(asks)
            self._wake.notify()

    def add_adapter(self, name: str, folder: Path) -> None:
        """The adapter answers to `name` from the next turn on.

        Raises:
            ModelError: it does not fit the base.
        """
        self._order(lambda: self._bank.add(name, folder) if name not in self._bank.names else None)

    def remove_adapter(self, name: str) -> None:
        """The adapter is out of memory; answers under it end."""

        def remove() -> None:
            for ask in self._live:
                ask.cancelled = ask.cancelled or ask.adapter == name
            self._end_cancelled()
            self._bank.remove(name)
            self._prefixes.forget(name)

        self._order(remove)

    def close(self) -> None:
        """The thread has ended; what was in progress is told so."""
        with self._wake:
            self._closed = True
            self._wake.notify()
        self._thread.join()

    def _order(self, work: Callable[[], None]) -> None:
        """Do something to the model between two turns, and wait until it is done."""
        done, failed = threading.Event(), list[BaseException]()

        def carry_out() -> None:
            try:
                work()
            except BaseException as error:
                failed.append(error)
            finally:
                done.set()

        with self._wake:
            self._orders.append(carry_out)
            self._wake.notify()
        done.wait()
        if failed:
            raise failed[0]

    def _run(self) -> None:
        while self._called():
            try:
                # Lent once for many turns, because lending it for each would cost a tenth of a short one.
                with nullcontext() if self._reader is None else self._reader.attached():
                    while self._busy():
                        self._turn()
            except Exception as error:
                # Whatever went wrong, nobody may wait for ever; the next request starts from an empty reader.
                self._give_up(f"{type(error).__name__}: {error}")
        self._give_up("the server is stopping")

    def _called(self) -> bool:
        """Wait for something to do, and do what changes the model; False once the engine is to end."""
        with self._wake:
            self._wake.wait_for(lambda: self._closed or self._orders or self._waiting or self._live)
            orders = list(self._orders)
            self._orders.clear()
        for order in orders:
            order()
        return not self._closed

    def _busy(self) -> bool:
        """Whether there are answers to go on with, and nothing that has to happen between two turns."""
        return bool(self._live or self._waiting) and not self._orders and not self._closed

    def _give_up(self, why: str) -> None:
        with self._wake:
            ended = [*self._live, *self._waiting]
            self._waiting.clear()
        self._live = []
        if self._reader is not None:
            self._reader.slots.clear()
        for ask in ended:
            _tell(ask, End("error", why))

    def _turn(self) -> None:
        self._end_cancelled()
        if self._reader is None:
            return self._answer_alone()
        begun = self._begin()
        if not self._live and not begun:
            return None
        reader, going_on = self._reader, [[ask.ids[-1]] for ask in self._live]
        openings = [_opening(ask) for ask in begun]
        self._bank.assign(_rows(self._live, begun))
        self._live += begun  # before the model runs: whatever fails there, these are told
        logits = reader.read(going_on, openings)
        for ask, token in zip(list(self._live), _choose(logits, self._live), strict=True):
            ask.ids.append(token.id)
            if token.id not in ask.stop_ids:
                _tell(ask, token)
        for slot in reversed(range(len(self._live))):
            ask = self._live[slot]
            if ask.ends or len(ask.ids) == self._limit(ask):
                self._prefixes.keep(ask.adapter, self._reader.read_in(slot, [*ask.prompt, *ask.ids]))
                self._drop(slot)
                _tell(ask, End("stop" if ask.ends else "length"))
        return None

    def _limit(self, ask: Ask) -> int:
        return min(ask.settings.max_new_tokens, self.context - len(ask.prompt))

    def _drop(self, slot: int) -> None:
        assert self._reader is not None
        last = self._live.pop()
        if slot < len(self._live):
            self._live[slot] = last
        self._reader.drop(slot)

    def _end_cancelled(self) -> None:
        for slot in reversed(range(len(self._live))):
            if self._live[slot].cancelled:
                ask = self._live[slot]
                self._drop(slot)
                _tell(ask, End("stop"))

    def _begin(self) -> list[Ask]:
        """The waiting requests for which there is room, on their trunks."""
        assert self._reader is not None
        begun: list[Ask] = []
        prefill = 0
        while True:
            with self._wake:
                ask = self._waiting.popleft() if self._waiting else None
            if ask is None:
                break
            if ask.cancelled:
                _tell(ask, End("stop"))
                continue
            if ask.adapter is not None and ask.adapter not in self._bank.names:
                _tell(ask, End("error", "the model was deleted"))
                continue
            together = [*self._live, *begun, ask]
            area = len(together) * max(other.room for other in together)
            full = len(together) > self._concurrency or area > self._cache or prefill > PREFILL_TOKENS
            if full and len(together) > 1:
                with self._wake:
                    self._waiting.appendleft(ask)
                break
            ask.settings = ask.settings.model_copy(update={"max_new_tokens": self._limit(ask)})
            ask.trunk = self._prefixes.trunk_for(ask.adapter, ask.prompt)
            ask.cached = len(ask.trunk.ids) if ask.trunk is not None and ask.trunk.layers else 0
            ask.copied = bool(ask.cached) and all(other.trunk is not ask.trunk for other in together[:-1])
            prefill += len(ask.prompt) - ask.cached
            begun.append(ask)
        slots, capacity = self._reader.room
        together = [*self._live, *begun]
        if begun and (len(together) > slots or max(ask.room for ask in together) > capacity):
            needed = max(ask.room for ask in together)
            self._reader.reserve(max(len(together), min(slots, self._cache // needed)), needed)
        return begun

    def _answer_alone(self) -> None:
        with self._wake:
            ask = self._waiting.popleft() if self._waiting else None
        if ask is None:
            return
        self._bank.assign_all(ask.adapter)

        def choose(logits: Tensor) -> int:
            if ask.cancelled or ask.complete:
                raise _Over
            (token,) = _choose(logits, [ask])
            ask.ids.append(token.id)
            if token.id not in ask.stop_ids:
                _tell(ask, token)
            return token.id

        self._live = [ask]
        try:
            go_on(self._model, ask.prompt, self._limit(ask), ask.stop_ids, choose)
        except _Over:
            pass
        finally:
            self._live = []
        _tell(ask, End("stop" if ask.cancelled or ask.ends else "length"))


def _tell(ask: Ask, heard: Token | End) -> None:
    """Whoever asked hears of it; where nobody listens any more the answer ends, and the others go on."""
    try:
        ask.tell(heard)
    except Exception:
        log.exception("an answer is heard by nobody any more")
        ask.cancelled = True


class _Over(Exception):
    """The answer is complete, or nobody wants it any more."""


def _opening(ask: Ask) -> Opening:
    start = len(ask.trunk.ids) if ask.trunk is not None else 0
    return Opening(list(ask.prompt[start:]), ask.trunk, ask.copied)


def _rows(live: Sequence[Ask], begun: Sequence[Ask]) -> list[str | None]:
    """The adapter of each row that the reader will lay out: answers going on, those that begin, new trunks."""
    rows = [ask.adapter for ask in live]
    for ask in begun:
        rows += [ask.adapter] * (len(ask.prompt) - (len(ask.trunk.ids) if ask.trunk is not None else 0))
    new = {id(ask.trunk): ask for ask in begun if ask.trunk is not None and not ask.trunk.layers}
    for ask in new.values():
        assert ask.trunk is not None
        rows += [ask.adapter] * len(ask.trunk.ids)
    return rows


def _choose(logits: Tensor, asks: Sequence[Ask]) -> list[Token]:
    """The next token of each row: the likeliest ones all at once, drawn ones each under its own settings."""
    found: list[Token] = []
    greedy = logits.argmax(-1).tolist()
    for row, ask in enumerate(asks):
        plain = not (ask.bias or ask.frequency_penalty or ask.presence_penalty)
        mine = logits[row : row + 1] if plain else _adjusted(logits[row : row + 1].clone(), ask)
        mine = mine if ask.form is None else ask.form.masked(mine)
        if ask.settings.temperature == 0 and plain and ask.form is None:
            id = greedy[row]
        else:
            (id,) = chosen(mine, ask.settings, [(ask.number, len(ask.ids))])
        ask.complete = ask.form is not None and ask.form.take(id)
        if ask.logprobs is None:
            found.append(Token(id))
            continue
        scores = torch.log_softmax(mine[0].float(), -1)
        top = scores.topk(ask.logprobs) if ask.logprobs else None
        pairs = () if top is None else tuple(zip(top.indices.tolist(), top.values.tolist(), strict=True))
        found.append(Token(id, float(scores[id]), pairs))
    return found


def _adjusted(logits: Tensor, ask: Ask) -> Tensor:
    """Logits [1, V] after bias and penalties: minus count * frequency, minus presence where a token occurred."""
    for id, value in ask.bias.items():
        if 0 <= id < logits.shape[1]:
            logits[0, id] += value
    for id in set(ask.ids):
        logits[0, id] -= ask.ids.count(id) * ask.frequency_penalty + ask.presence_penalty
    return logits
