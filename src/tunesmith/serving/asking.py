"""What is asked of an engine, and what it tells: values without torch, so that a server starts at once."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from tunesmith.generation.settings import GenerationSettings
from tunesmith.serving.constraint import Constraint

if TYPE_CHECKING:
    from tunesmith.models.decoding import Trunk


@dataclass(frozen=True, slots=True)
class Token:
    """A token of an answer, with its logarithmic probability and the likeliest ones where they were asked for."""

    id: int
    logprob: float | None = None
    top: tuple[tuple[int, float], ...] = ()


@dataclass(frozen=True, slots=True)
class End:
    """The answer is over: its end token, its length, or an error."""

    reason: Literal["stop", "length", "error"]
    message: str = ""


@dataclass(slots=True, eq=False)
class Ask:
    """One answer that is wanted. `tell` hears of every token and of the end, from the engine's thread.

    `bias` is added to logits by token id; the two penalties are those of the OpenAI API. `logprobs` is how many of the
    likeliest tokens are wanted, None for none at all. `form` is what the answer has to keep to.
    """

    prompt: Sequence[int]
    adapter: str | None
    settings: GenerationSettings
    stop_ids: frozenset[int]
    tell: Callable[[Token | End], object]
    number: int = 0
    logprobs: int | None = None
    bias: dict[int, float] = field(default_factory=dict)
    frequency_penalty: float = 0.0
    presence_penalty: float = 0.0
    form: Constraint | None = None
    cancelled: bool = False
    complete: bool = False
    cached: int = 0
    ids: list[int] = field(default_factory=list)
    trunk: "Trunk | None" = None
    copied: bool = False

    @property
    def ends(self) -> bool:
        """Whether its last token ends it."""
        return self.complete or self.ids[-1] in self.stop_ids

    @property
    def room(self) -> int:
        """Own tokens to be stored at most."""
        below = len(self.trunk.ids) if self.trunk is not None and not self.copied else 0
        return len(self.prompt) - below + self.settings.max_new_tokens - 1
