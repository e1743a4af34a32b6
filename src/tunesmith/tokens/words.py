"""What a tokenizer makes of a word, remembered: most words of a data set have occurred before.

The decision: only for tokenizers whose rule cuts a text before every single space between two signs that are no white
space, which is proved by reading the rule, so only rules that are listed here count. Then a text is the sum of its
words, each with the space before it, and a word that has been made into tokens once is looked up. The ids are those of
the whole text; other tokenizers go their own way.
"""

from array import array
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import repeat
from typing import Any

KEPT = 2**17
"""Words remembered, some 200 bytes each; when they are so many, all are forgotten and it begins anew."""
LONGEST = 64
"""Characters of a word that is remembered; what is longer hardly comes again."""
# In all of these a space stands, at most, at the beginning of a match, or in a match of white space alone.
_ENGLISH = "'s|'t|'re|'ve|'m|'ll|'d"
_REST = r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
RULES = {
    _ENGLISH + r"| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+",
    rf"(?i:{_ENGLISH})|[^\r\n\p{{L}}\p{{N}}]?\p{{L}}+|\p{{N}}{{1,3}}{_REST}",
    rf"(?i:{_ENGLISH})|[^\r\n\p{{L}}\p{{N}}]?\p{{L}}+|\p{{N}}{_REST}",
}
Encode = Callable[[list[str]], Iterable[list[int]]]


def cuts_at_spaces(tokenizer: Mapping[str, Any]) -> bool:
    """Whether a tokenizer.json describes a tokenizer that makes tokens of each word on its own."""
    model, normalizer = tokenizer.get("model") or {}, tokenizer.get("normalizer")
    if model.get("type") != "BPE" or model.get("dropout"):
        return False
    if model.get("continuing_subword_prefix") or model.get("end_of_word_suffix"):
        return False
    # NFC joins a sign with the marks behind it, never across a space between two signs that are no marks.
    if normalizer is not None and normalizer.get("type") != "NFC":
        return False
    rule = tokenizer.get("pre_tokenizer") or {}
    parts = rule["pretokenizers"] if rule.get("type") == "Sequence" else [rule]
    return all(_is_known(part) for part in parts) and any(_cuts(part) for part in parts)


def _is_known(part: Mapping[str, Any]) -> bool:
    """Whether a part of the rule never joins anything, nor puts something in front of a text."""
    return _cuts(part) or part.get("type") == "Digits" or (
        part.get("type") == "ByteLevel" and not part.get("add_prefix_space") and not part.get("use_regex", True)
    )  # fmt: skip


def _cuts(part: Mapping[str, Any]) -> bool:
    if part.get("type") == "ByteLevel":
        return not part.get("add_prefix_space") and bool(part.get("use_regex", True))
    pattern = part.get("pattern") or {}
    known = part.get("type") == "Split" and pattern.get("Regex") in RULES
    return known and part.get("behavior") == "Isolated" and not part.get("invert")


def as_bytes(ids: Iterable[int]) -> bytes:
    """Token ids as the bytes of int32 numbers, which are joined faster than lists."""
    return array("i", ids).tobytes()


class Words:
    """Makes tokens of texts that hold no control token; `encode` is the tokenizer's own way, for many texts at once."""

    def __init__(self, encode: Encode) -> None:
        self._encode = encode
        self._known: dict[str, bytes] = {}

    def ids(self, texts: Sequence[str]) -> list[bytes]:
        """The ids of each text, as the bytes of int32 numbers."""
        if len(self._known) > KEPT:
            self._known.clear()
        # Pieces begin with the space that stood between them; a text with a NUL is one piece.
        pieces = [text.replace(" ", "\0 ").split("\0") if "\0" not in text else [text] for text in texts]
        known = [list(map(self._known.get, words, repeat(b""))) for words in pieces]
        slow = {i: list(parted(pieces[i], ids)) for i, ids in enumerate(known) if b"" in ids}
        new = self._learned(part for parts in slow.values() for part in parts if isinstance(part, str))
        whole = {i: [new[p] if isinstance(p, str) else p for p in parts] for i, parts in slow.items()}
        return [b"".join(whole.get(i, ids)) for i, ids in enumerate(known)]

    def _learned(self, words: Iterable[str]) -> Mapping[str, bytes]:
        """The ids of words, of which those that may come again are remembered."""
        different = list(dict.fromkeys(words))
        ids = {word: as_bytes(one) for word, one in zip(different, self._encode(different), strict=True)}
        self._known.update((word, one) for word, one in ids.items() if len(word) <= LONGEST and is_closed(word))
        return ids


def parted(words: Sequence[str], known: Sequence[bytes]) -> Iterator[bytes | str]:
    """A text in parts: ids of pieces that are known, one behind the other, and between them the words of others.

    A piece that is not known (`b""`) is put together again with those that the rule may not cut it off from.
    """
    at = 0
    for unknown in [i for i, ids in enumerate(known) if not ids]:
        if unknown < at:
            continue  # it is with the one before
        start, end = unknown, unknown + 1
        while start > at and not _is_cut(words, start):
            start -= 1
        while end < len(words) and not _is_cut(words, end):
            end += 1
        yield b"".join(known[at:start])
        yield "".join(words[start:end])
        at = end
    yield b"".join(known[at:])


def _is_cut(words: Sequence[str], at: int) -> bool:
    """Whether the rule cuts in front of a piece."""
    return _is_sign(words[at - 1][-1:]) and _is_sign(words[at][1:2])


def is_closed(word: str) -> bool:
    """Whether a piece stands alone between any neighbours that are closed as well: its ends are no white space."""
    return _is_sign(word[-1:]) and (word[:1] != " " or _is_sign(word[1:2])) and " " not in word[1:]


def _is_sign(character: str) -> bool:
    """Whether a character is certainly no white space and no mark; of others the rule is not asked."""
    return "!" <= character <= "~" or character.isalnum()
