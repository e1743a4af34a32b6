"""The one form between all formats: a conversation, plain text, or ready tokens, that knows where it came from.

The decision: every Format ends here and everything later begins here, so a new format is one module and no other
code changes. Values are frozen; content is kept exactly as it was written.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a record stands: the file as the user named it, and its line or row, counted from 1.

    The line in JSONL, CSV and text; the row in JSON arrays, Parquet and Arrow.
    """

    file: str
    line: int

    def __str__(self) -> str:
        return f"{self.file}:{self.line}"


@dataclass(frozen=True, slots=True)
class Message:
    """One turn.

    `weight` is how much the loss of this turn counts: None leaves it to `train_on`, 0 is context only. It stands on
    assistant turns alone. `parts` are the characters of `content` that count otherwise: (start, end, weight), in order
    and apart from each other. `tool_calls` are kept as written (OpenAI's form: id, type, function{name, arguments}).
    """

    role: str
    content: str
    weight: float | None = None
    reasoning: str | None = None
    tool_calls: tuple[Mapping[str, Any], ...] = ()
    tool_call_id: str | None = None
    name: str | None = None
    parts: tuple[tuple[int, int, float], ...] = ()


@dataclass(frozen=True, slots=True)
class Example:
    """One conversation with its tools. `weight` multiplies the weight of every target in it."""

    messages: tuple[Message, ...]
    origin: Origin
    tools: tuple[Mapping[str, Any], ...] = ()
    weight: float = 1.0


@dataclass(frozen=True, slots=True)
class Passage:
    """Plain text to be learned as it stands (unsupervised fine-tuning), without a chat template."""

    text: str
    origin: Origin


@dataclass(frozen=True, slots=True, eq=False)
class Tokenized:
    """Token ids (int64, [n]) and the weight of each as a target (float32, [n]), as another tool made them.

    They are learned as they stand, without a chat template; whether a tokenizer knows the ids is not known here.
    """

    ids: NDArray[np.int64]
    weights: NDArray[np.float32]
    origin: Origin


AnyExample = Example | Passage | Tokenized
