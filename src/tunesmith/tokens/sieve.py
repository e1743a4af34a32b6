"""What of each example can be trained, and what is said of the rest.

The decision: this follows from the encoder, the limit and the examples alone, so any process may do it (`team`).
What becomes of the books is the business of whoever asks.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from tunesmith.data.example import AnyExample, Example, Passage, Tokenized
from tunesmith.errors import TemplateError
from tunesmith.tokens.encode import Encoder
from tunesmith.tokens.encoded import EncodedExample

CHUNK = 256
"""Conversations that are made into tokens together."""


@dataclass(frozen=True, slots=True)
class Sifted:
    """What became of a portion.

    `parts` holds for each example what can be trained of it: several where it was split or cut into windows, none where
    it was refused. `refused` are the reasons, in order: the name of a finding, and what is told of the example.
    """

    parts: list[list[EncodedExample]]
    refused: list[tuple[str, str]]


@dataclass(frozen=True, slots=True)
class Sieve:
    """Lets through what has at most `limit` tokens and teaches something.

    `split_turns` splits conversations whose turns the template rewrites later.
    """

    encoder: Encoder
    limit: int
    split_turns: bool

    def sift(self, examples: Sequence[AnyExample]) -> Sifted:
        """What became of each of the examples."""
        refused: list[tuple[str, str]] = []
        parts = []
        for start in range(0, len(examples), CHUNK):
            for encoded in self._encoded(examples[start : start + CHUNK], refused):
                parts.append([one for one in encoded if self._usable(one, refused)])
        return Sifted(parts, refused)

    def _encoded(self, chunk: Sequence[AnyExample], refused: list[tuple[str, str]]) -> list[list[EncodedExample]]:
        if all(isinstance(e, Example) for e in chunk):
            try:
                return [[e] for e in self.encoder.encode_many([e for e in chunk if isinstance(e, Example)])]
            except TemplateError:
                pass  # one of them is refused: find out which, one by one
        return [self._one(e, refused) for e in chunk]

    def _one(self, example: AnyExample, refused: list[tuple[str, str]]) -> list[EncodedExample]:
        if isinstance(example, Passage):
            windows = self.encoder.passages(example, self.limit)
            if not windows:
                refused.append(("empty-text", str(example.origin)))
            return windows
        try:
            if isinstance(example, Tokenized):
                return [self.encoder.tokenized(example)]
            return self.encoder.encode_split(example) if self.split_turns else [self.encoder.encode(example)]
        except TemplateError as refusal:
            name = "unknown-token-id" if isinstance(example, Tokenized) else "template-refuses"
            refused.append((name, str(refusal)))
            return []

    def _usable(self, encoded: EncodedExample, refused: list[tuple[str, str]]) -> bool:
        if len(encoded) > self.limit:
            refused.append(("too-long", f"{encoded.origin} ({len(encoded):,} tokens)"))
            return False
        if not encoded.target_weight > 0:
            refused.append(("no-target", str(encoded.origin)))
            return False
        return True
