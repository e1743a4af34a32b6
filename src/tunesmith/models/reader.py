"""Reader: a model that reads on where it stopped, many sequences at once.

The decision: a sequence is a slot. Slots are dense (the last one moves into a hole), so every product over them is a
view and not a copy. Who decides what is read next (generation) does not know how it is stored, and the reverse.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from tunesmith.models.attention import NAME as FOREST
from tunesmith.models.decoding import NAME, Call, Run, Store, Trunk
from tunesmith.models.few_rows import Cores, few_rows
from tunesmith.models.head import Head


@dataclass(frozen=True, slots=True)
class Opening:
    """A sequence to begin: its ids above the trunk (at least one), and the trunk if it stands on one.

    With `copied`, what was read of the trunk becomes the sequence's own, which is faster where no other stands on it.
    """

    ids: Sequence[int]
    trunk: Trunk | None = None
    copied: bool = False


@dataclass(slots=True)
class Slot:
    """A sequence in progress: what it stands on, and how many tokens of its own are stored."""

    trunk: Trunk | None
    stored: int = 0

    @property
    def offset(self) -> int:
        """The position of its first own token."""
        return len(self.trunk.ids) if self.trunk else 0


@contextmanager
def own_attention(model: Any) -> Iterator[None]:
    """The model with an attention of transformers' own; afterwards with the one it had.

    A network that trains as a forest carries our attention, which cannot be called without a batch. Eager is what every
    family defines itself by.
    """
    found = model.config._attn_implementation
    ours = found in (NAME, FOREST)
    if ours:
        model.set_attn_implementation("eager")
    try:
        yield
    finally:
        if ours:
            model.set_attn_implementation(found)


class Reader:
    """Reads token ids into slots and gives the logits of what comes next.

    Use it inside `with reader.attached():`, which lends the model our attention function and then gives its own back.
    """

    def __init__(self, model: Any, head: Head) -> None:
        self._model, self._head = model, head
        self._device: torch.device = next(model.parameters()).device
        self._store, self._cores = Store(), Cores()
        self.slots: list[Slot] = []

    @contextmanager
    def attached(self) -> Iterator[None]:
        """The model in evaluation mode with our attention and without gradients; afterwards as it was."""
        own, training = self._model.config._attn_implementation, self._model.training
        if training:
            self._model.eval()
        self._model.set_attn_implementation(NAME)
        try:
            with torch.no_grad(), few_rows(self._model):
                yield
        finally:
            self._model.set_attn_implementation(own)
            if training:
                self._model.train()

    @property
    def room(self) -> tuple[int, int]:
        """How many sequences can be held, and how many own tokens of each."""
        return self._store.slots, self._store.capacity

    def reserve(self, slots: int, capacity: int) -> None:
        """Hold room for `slots` sequences of `capacity` own tokens each, keeping what is stored."""
        self._store.reshape(slots, capacity, [slot.stored for slot in self.slots])

    def drop(self, slot: int) -> None:
        """End a sequence; the last slot takes its place."""
        last = self.slots.pop()
        if slot < len(self.slots):
            self._store.move(len(self.slots), slot, last.stored)
            self.slots[slot] = last

    def read(self, more: Sequence[Sequence[int]], opened: Sequence[Opening] = ()) -> Tensor:
        """Logits [slots, V] after reading `more[i]` (at least one id) into slot i and beginning the `opened` ones.

        A trunk met for the first time is read along. The caller has reserved the room. The slots of `opened` come last.
        """
        new = _unread(opened)
        single = all(len(ids) == 1 for ids in more)
        goes_on = [(self.slots[i], ids) for i, ids in enumerate(more)]
        begins = [(self._begun(number, o), o.ids) for number, o in enumerate(opened, len(self.slots))]
        self.slots.extend(slot for slot, _ in begins)
        parts = [*goes_on, *begins]
        call, last = self._call(parts, len(more) if single else 0, new)
        ids = [i for _, part in parts for i in part] + [i for trunk in new for i in trunk.ids]
        with self._cores.lent(len(ids)):
            hidden = self._model.base_model(
                input_ids=torch.tensor([ids], device=self._device),
                position_ids=call.position[None],
                use_cache=False,
                call=call,
            ).last_hidden_state[0]
            logits = self._head.logits(hidden.index_select(0, last))
        for slot, part in parts:
            slot.stored += len(part)
        return logits

    def read_in(self, slot: int, ids: Sequence[int]) -> Trunk:
        """What a sequence has read, as a trunk for others; `ids` begin with those that it has read."""
        found = self.slots[slot]
        layers = self._store.read_in(slot, found.stored)
        if found.trunk is not None:
            below = found.trunk.layers
            layers = {
                n: (torch.cat((below[n][0], k), 1), torch.cat((below[n][1], v), 1)) for n, (k, v) in layers.items()
            }
        return Trunk(tuple(ids[: found.offset + found.stored]), layers)

    def _begun(self, number: int, opening: Opening) -> Slot:
        if opening.trunk is None or not opening.copied:
            return Slot(opening.trunk)
        self._store.fill(number, opening.trunk)
        return Slot(None, len(opening.trunk.ids))

    def _call(
        self, parts: Sequence[tuple[Slot, Sequence[int]]], singles: int, new: Sequence[Trunk]
    ) -> tuple[Call, Tensor]:
        """The layout of one forward, and the last row of each part [slots]."""
        runs: list[Run] = []
        rows: dict[int, tuple[Trunk, list[int]]] = {}
        positions: list[int] = []
        last: list[int] = []
        at = 0
        for number, (slot, ids) in enumerate(parts):
            end, place = at + len(ids), slot.offset + slot.stored
            if number >= singles:
                runs.append(Run(at, end, slot.stored, number, None))
            if slot.trunk is not None:
                rows.setdefault(id(slot.trunk), (slot.trunk, []))[1].extend(range(at, end))
            positions.extend(range(place, place + len(ids)))
            last.append(end - 1)
            at = end
        for trunk in new:
            runs.append(Run(at, at + len(trunk.ids), 0, -1, trunk))
            positions.extend(range(len(trunk.ids)))
            at += len(trunk.ids)
        stored = [slot.stored for slot, _ in parts[:singles]]
        call = Call(
            self._store,
            self._tensor(positions),
            singles,
            torch.arange(singles, device=self._device),
            self._tensor(stored),
            max(stored, default=0) + 1,
            len(set(stored)) > 1,
            runs,
            [(trunk, self._tensor(above)) for trunk, above in rows.values()],
        )
        return call, self._tensor(last)

    def _tensor(self, numbers: Sequence[int]) -> Tensor:
        return torch.tensor(numbers, dtype=torch.long, device=self._device)


def _unread(opened: Sequence[Opening]) -> list[Trunk]:
    """The trunks that have to be read, each once, in the order met."""
    met = {id(o.trunk): o.trunk for o in opened if o.trunk is not None and not o.trunk.layers}
    return list(met.values())
