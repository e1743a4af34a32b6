"""Answers that keep a form: JSON, JSON of a schema, a call of one of these tools.

The decision: a form is a grammar over bytes, and a token may be chosen only while the grammar can still be completed;
so what ends by itself is valid, whatever the model is. The grammar is llguidance's (https://github.com/guidance-ai/llguidance),
white space is left out where JSON allows any, because a small model that may write spaces writes them for ever.
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Any

import numpy as np
from llguidance import LLMatcher, LLTokenizer

from tunesmith.errors import RequestError

if TYPE_CHECKING:
    from torch import Tensor

Schema = Mapping[str, Any]


class Constraint:
    """The form of one answer under way."""

    def __init__(self, matcher: LLMatcher) -> None:
        self._matcher = matcher

    def fresh(self) -> "Constraint":
        """The same form for another answer, from its beginning."""
        return Constraint(self._matcher.deep_copy())

    def masked(self, logits: "Tensor") -> "Tensor":
        """A copy of `logits` [1, V] in which what the form excludes is minus infinity."""
        bits = np.frombuffer(self._matcher.compute_bitmask(), dtype=np.uint8)
        allowed = np.zeros(logits.shape[1], dtype=bool)
        known = np.unpackbits(bits, bitorder="little")[: logits.shape[1]]
        allowed[: len(known)] = known
        return logits.masked_fill(logits.new_tensor(~allowed).bool(), float("-inf"))

    def take(self, token: int) -> bool:
        """Note the token that was chosen; True when nothing may follow it."""
        self._matcher.consume_token(token)
        return bool(self._matcher.is_stopped())


class Grammars:
    """The forms that a model's answers can keep; its tokenizer is prepared when the first one is asked for."""

    def __init__(self, tokenizer: Path, stop_ids: Sequence[int]) -> None:
        self._file, self._stops = tokenizer, list(stop_ids)
        self._words: LLTokenizer | None = None
        self._lock = Lock()

    def of_schema(self, schema: Schema, param: str) -> Constraint:
        """The form of JSON that fits `schema`.

        Raises:
            RequestError: the schema is none, or holds something that cannot be kept.
        """
        if not self._stops:
            raise RequestError("This model has no end token, so its answers keep no form.", param=param)
        try:
            grammar = LLMatcher.grammar_from_json_schema(
                json.dumps(dict(schema)), overrides={"whitespace_flexible": False}
            )
        except ValueError as error:
            raise _refused(str(error), param) from error
        fault = LLMatcher.validate_grammar(grammar, None)
        if fault:
            raise _refused(fault, param)
        return Constraint(LLMatcher(self._tokenizer(), grammar))

    def _tokenizer(self) -> LLTokenizer:
        with self._lock:
            if self._words is None:
                self._words = LLTokenizer(str(self._file), eos_token=self._stops)
            return self._words


def _refused(why: str, param: str) -> RequestError:
    return RequestError(f"{param}: this schema cannot be kept: {why[:300]}", param=param, code="invalid_schema")


def call_of(tools: Sequence[Mapping[str, Any]]) -> Schema:
    """The schema of a call of one of these tools, as `split_calls` understands it.

    >>> call_of([{"type": "function", "function": {"name": "add"}}])["anyOf"][0]["properties"]["name"]
    {'const': 'add'}
    """
    return {"anyOf": [_call(tool["function"]) for tool in tools]}


def _call(function: Mapping[str, Any]) -> Schema:
    arguments = function.get("parameters") or {"type": "object"}
    return {
        "type": "object",
        "properties": {"name": {"const": function["name"]}, "arguments": arguments},
        "required": ["name", "arguments"],
        "additionalProperties": False,
    }
