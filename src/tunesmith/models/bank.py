"""Many adapters on one base, each row of a forward under its own.

The decision: the base stands in memory once. Each adapted layer adds, after its one product for all rows, the two small
products of each adapter for that adapter's rows; so requests for different tuned models run in one batch.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from tunesmith.errors import ModelError
from tunesmith.models.adapters import adapted, load_adapter, trained_in_four_bits


@dataclass(slots=True)
class _Assignment:
    """Which rows of the next forward each adapter changes; None means all of them."""

    rows: dict[str, Tensor | None] = field(default_factory=dict)


class MixedLinear(nn.Module):
    """x [1, T, I] → base(x), plus each adapter's change at its own rows  [1, T, O]."""

    def __init__(self, base: nn.Module, assignment: _Assignment) -> None:
        super().__init__()
        self.base, self._assignment = base, assignment
        self.parts: dict[str, tuple[Tensor, Tensor, float]] = {}

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.base(x)
        flat, changed = x.reshape(-1, x.shape[-1]), out.view(-1, out.shape[-1])
        for name, rows in self._assignment.rows.items():
            if (part := self.parts.get(name)) is None:
                continue
            a, b, scaling = part
            low = (flat if rows is None else flat.index_select(0, rows)) @ a.to(x.dtype).t()
            if rows is None:
                changed.addmm_(low, b.to(x.dtype).t(), alpha=scaling)
            else:
                changed.index_add_(0, rows, low @ b.to(x.dtype).t(), alpha=scaling)
        return out


class Bank:
    """The adapters of one base model, by name. For inference only: nothing here records a gradient."""

    def __init__(self, model: Any) -> None:
        self._model = model
        self._device: torch.device = next(model.parameters()).device
        self._assignment = _Assignment()
        self._mixed: dict[str, MixedLinear] = {}
        self.names: set[str] = set()

    def add(self, name: str, folder: Path) -> None:
        """The adapter stored in `folder` answers to `name`.

        Raises:
            ModelError: it does not fit this base, or was trained on one in four bits, which is another.
        """
        if trained_in_four_bits(folder):
            raise ModelError(
                f"{folder}: this adapter was trained on matrices in four bits (NF4), so it shares no base with others. "
                f"Serve it merged: `tunesmith export {folder} --to DIR --merge`."
            )
        for place, mixed in self._mixed.items():
            self._model.set_submodule(place, mixed.base)
        try:
            load_adapter(self._model, folder)
        finally:
            for place, layer in adapted(self._model).items():
                mixed = self._mixed.setdefault(place, MixedLinear(layer.base, self._assignment))
                mixed.parts[name] = (layer.lora_A.detach(), layer.lora_B.detach(), layer.scaling)
            for place, mixed in self._mixed.items():
                self._model.set_submodule(place, mixed)
        self.names.add(name)

    def remove(self, name: str) -> None:
        """Nothing of the adapter is kept."""
        for mixed in self._mixed.values():
            mixed.parts.pop(name, None)
        self.names.discard(name)

    def assign(self, rows: Sequence[str | None]) -> None:
        """Row t of the next forward stands under the adapter `rows[t]`, or under none."""
        found: dict[str, list[int]] = {}
        for number, name in enumerate(rows):
            if name is not None:
                found.setdefault(name, []).append(number)
        self._assignment.rows = {
            name: None if len(numbers) == len(rows) else torch.tensor(numbers, device=self._device)
            for name, numbers in found.items()
        }

    def assign_all(self, name: str | None) -> None:
        """Every row stands under one adapter, or under none, until told otherwise."""
        self._assignment.rows = {} if name is None else {name: None}
