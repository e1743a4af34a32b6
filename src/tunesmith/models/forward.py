"""Network: a loaded model as the rest of the house uses it: a Batch in, the hidden rows or logits that it asks for out.

The decision: there are two ways to run a model. *Forest* reads a whole Batch at once through our attention. *Alone*
runs one example in a call, with the model's own attention, and is exact for whatever transformers can build. The
probe (`models.probe`) chooses once, before the first step.
"""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from tunesmith.batches.batch import Batch
from tunesmith.errors import ModelError
from tunesmith.models.attention import NAME, Layout, Way
from tunesmith.models.flex import padded_length
from tunesmith.models.head import Head
from tunesmith.models.transfer import on_device


@dataclass(frozen=True, slots=True)
class Network:
    """A model with the way in which it is run. `head` is None when only the model itself can make its logits.

    `way` is how attention goes through the forest; `compiled` says that blocks are, so the loss is, too.
    """

    model: Any
    forest: bool
    head: Head | None
    way: Way = "segments"
    compiled: bool = False

    @property
    def device(self) -> torch.device:
        """Where the model's parameters are."""
        return next(self.model.parameters()).device  # type: ignore[no-any-return]

    def hidden_rows(self, batch: Batch) -> Tensor:
        """The hidden states [U, D] at the supervised rows, differentiable."""
        hidden = self._call(self.model.base_model, batch).last_hidden_state[0]
        return hidden.index_select(0, self.on_device(batch.rows))  # type: ignore[no-any-return]

    def logits(self, batch: Batch) -> Tensor:
        """The logits [U, V] at the supervised rows, differentiable."""
        if self.head is not None:
            return self.head.logits(self.hidden_rows(batch))
        logits = self._call(self.model, batch).logits[0]
        return logits.index_select(0, self.on_device(batch.rows))  # type: ignore[no-any-return]

    def padded(self, states: Tensor) -> Tensor:
        """States [T, D] of a batch's tokens, with rows of zeros for those that a call computes besides."""
        more = padded_length(len(states)) - len(states) if self.way != "segments" else 0
        return torch.nn.functional.pad(states, (0, 0, 0, more)) if more else states

    def on_device(self, array: Any) -> Tensor:
        """A NumPy array as a tensor beside the parameters."""
        return on_device(array, self.device)

    def _call(self, module: Any, batch: Batch) -> Any:
        if self.forest:
            layout = Layout.of(batch, self.device, self.way)
            read = layout.mask.padded if layout.mask is not None else batch
            ids, position = (self.on_device(array)[None] for array in (read.ids, read.position))
            return module(input_ids=ids, position_ids=position, use_cache=False, forest=layout)
        if len(batch.segments) != 1 or batch.examples != 1:
            raise ModelError("this model runs one example at a time, but was given a batch of several")
        return module(input_ids=self.on_device(batch.ids)[None], use_cache=False)


def use_attention(model: Any, *, forest: bool, own: str = "sdpa") -> None:
    """Let the model call our forest attention, or its own."""
    model.set_attn_implementation(NAME if forest else own)
