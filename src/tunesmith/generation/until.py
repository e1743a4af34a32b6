"""Texts at which an answer ends, beside the end token: while it is written, and in what was written.

The decision: an answer is looked at as text, because such a text may begin or end inside a token. Only its end is
decoded at each token; what stands behind the text that ended it is cut away afterwards.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from tunesmith.tokens.tokenizer import Tokenizer


@dataclass(frozen=True, slots=True)
class Until:
    """The texts that end an answer; none of them is part of it."""

    tokenizer: Tokenizer
    texts: tuple[str, ...]

    def ended(self, ids: Sequence[int]) -> bool:
        """Whether one of the texts stands at the end of these tokens."""
        if not self.texts:
            return False
        # Every token stands for a byte at least, and no character has more than four.
        tail = self.tokenizer.decode(ids[-4 - max(len(text.encode()) for text in self.texts) :])
        return any(text in tail for text in self.texts)


def cut(answer: str, texts: Sequence[str]) -> tuple[str, bool]:
    """What stands before the first of the texts, and whether there was one."""
    found = [place for place in (answer.find(text) for text in texts) if place >= 0]
    return (answer[: min(found)], True) if found else (answer, False)
