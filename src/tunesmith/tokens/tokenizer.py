"""Text to token ids and back, with the model's own tokenizer.json and nothing of transformers.

The decision: whether text may become control tokens is asked at every call, and the answer is no unless the caller says
otherwise. Text is encoded in pieces that give the ids of the whole wherever the tokenizer allows it: a piece knows
whether it begins the text, follows a control token, or goes on in the middle of a text (tokenizers that put a space in
front of a text must not do so there).
"""

import hashlib
import json
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer as Backend

from tunesmith.errors import ModelError
from tunesmith.tokens.words import Words, as_bytes, cuts_at_spaces

After = Literal["start", "control", "text"]
"""What stands before a piece of text: nothing, a control token, or more text."""


class Tokenizer:
    """A model's tokenizer, its control tokens and its chat template. Made by `Tokenizer.load`."""

    def __init__(self, backend_json: str, config: dict[str, Any], chat_template: str | None, stop_ids: Iterable[int]):
        self._backend = Backend.from_str(backend_json)
        self._backend.no_padding()
        self._backend.no_truncation()
        description = json.loads(backend_json)
        # Only these two can put something in front of a text.
        front = {part: _without_added_space(description.get(part)) for part in ("normalizer", "pre_tokenizer")}
        bare_json = {**description, **front}
        self._bare = Backend.from_str(json.dumps(bare_json)) if bare_json != description else None
        self.config = config
        self.chat_template = chat_template
        self.vocabulary_size = self._backend.get_vocab_size(with_added_tokens=True)
        self.special_tokens = {
            name: _token_text(value) for name, value in config.items() if name.endswith("_token") and _token_text(value)
        }
        self.bos_id = self._id_of("bos_token")
        self.eos_id = self._id_of("eos_token")
        self.stop_ids = frozenset(stop_ids) | ({self.eos_id} if self.eos_id is not None else set())
        added = {token.content: (id_, token.special) for id_, token in self._backend.get_added_tokens_decoder().items()}
        self.added = {text: id_ for text, (id_, _) in added.items()}
        self._added_ids = {text: as_bytes([id_]) for text, id_ in self.added.items()}
        self.control = {text: id_ for text, (id_, special) in added.items() if special}
        self._added_pattern = any_of(self.added)
        self._added_end = self._ends()
        self._parting = re.compile(f"({self._added_pattern.pattern})")
        self._plain_added = not any(
            token.lstrip or token.rstrip or token.single_word or token.normalized
            for token in self._backend.get_added_tokens_decoder().values()
        )
        self._words = Words(self._encode_all) if cuts_at_spaces(description) else None
        self.adds_bos = self.bos_id is not None and self._backend.encode("a").ids[:1] == [self.bos_id]
        self._text = backend_json
        self.fingerprint = _sha256([backend_json, json.dumps(self.special_tokens, sort_keys=True), chat_template or ""])

    @classmethod
    def load(cls, folder: Path) -> "Tokenizer":
        """The tokenizer of a model folder (tokenizer.json and the small files beside it).

        Raises:
            ModelError: there is no tokenizer.json, or a file is damaged.
        """
        file = folder / "tokenizer.json"
        if not file.is_file():
            raise ModelError(
                f"{folder}: there is no tokenizer.json. Fetch the model again with `tunesmith models pull`."
            )
        config = {**_read_json(folder / "special_tokens_map.json"), **_read_json(folder / "tokenizer_config.json")}
        try:
            return cls(file.read_text(encoding="utf-8"), config, _chat_template(folder, config), _stop_ids(folder))
        except ModelError:
            raise
        except Exception as error:  # the tokenizers library raises bare Exception for a damaged file
            raise ModelError(
                f"{file}: this is no tokenizer that can be read ({error}). Fetch the model again."
            ) from error

    def plain(self) -> dict[str, Any]:
        """What `Tokenizer` has to be given to be this one, as plain values."""
        given = {"backend_json": self._text, "config": self.config, "chat_template": self.chat_template}
        return {**given, "stop_ids": sorted(self.stop_ids)}

    def encode(self, text: str, *, special: bool = False, after: After = "start") -> list[int]:
        """Token ids of `text`, without BOS or EOS added.

        With `special`, the text of a control token becomes that token; without it, it stays plain text. `after` tells
        what stands before the text.
        """
        pieces = [text] if special else self.plain_pieces(text, self.control)
        ids: list[int] = []
        for piece in pieces:
            ids += self._encode_piece(piece, after)
            after = "text"
        return ids

    def encode_batch(self, pieces: Sequence[tuple[str, After]]) -> list[NDArray[np.int32]]:
        """Token ids of each (text, what stands before it); the text of a control token becomes that token."""
        if self._bare is not None:
            return [np.array(self._encode_piece(text, after), dtype=np.int32) for text, after in pieces]
        if not self._plain_added:
            return [np.array(ids, dtype=np.int32) for ids in self._encode_all([text for text, _ in pieces])]
        # Added tokens stand alone, so what lies between them is tokenised once however often it occurs: a system
        # prompt that all rows share costs what it costs once.
        parted = [self._parting.split(text) for text, _ in pieces]
        between = list(dict.fromkeys(part for parts in parted for part in parts[::2] if part))
        made = self._words.ids(between) if self._words else [as_bytes(ids) for ids in self._encode_all(between)]
        ids_of = dict(zip(between, made, strict=True)) | self._added_ids
        return [np.frombuffer(b"".join([ids_of[part] for part in parts if part]), np.int32) for parts in parted]

    def _encode_all(self, texts: list[str]) -> list[list[int]]:
        return [one.ids for one in self._backend.encode_batch_fast(texts, add_special_tokens=False)]

    def ends(self, text: str, after: After) -> tuple[list[int], list[int]]:
        """Token ids of a piece of text as `encode_batch` gives them, and the character at which each of them ends."""
        if self._bare is None or after == "start":
            ids, offsets = self.offsets(text)
            return ids, [end for _, end in offsets]
        if after == "control":
            ids, offsets = self.offsets(self._guard + text)
            first = 1 if self._guard else 0
            return ids[first:], [end - len(self._guard) for _, end in offsets[first:]]
        match = self._added_pattern.search(text)
        border = match.start() if match else len(text)
        bare = self._bare.encode(text[:border], add_special_tokens=False)
        behind, ends = self.ends(text[border:], "control") if match else ([], [])
        return [*bare.ids, *behind], [*(end for _, end in bare.offsets), *(border + end for end in ends)]

    def plain_pieces(self, text: str, tokens: Iterable[str]) -> list[str]:
        """`text` cut inside every occurrence of one of `tokens`, so that none of them can be recognised."""
        cuts = [match.start() + 1 for match in _overlapping(any_of(tokens), text)]
        return [text[a:b] for a, b in zip([0, *cuts], [*cuts, len(text)], strict=True) if b > a]

    def offsets(self, text: str) -> tuple[list[int], list[tuple[int, int]]]:
        """Token ids of `text` (control tokens recognised) and the characters `start, end` that each stands for."""
        encoding = self._backend.encode(text, add_special_tokens=False)
        return encoding.ids, encoding.offsets

    def ends_with_added(self, text: str) -> bool:
        """Whether the last token of `text` is an added token, whitespace that the token swallows left aside."""
        tail = text[-200:]
        return self._added_end.search(tail) is not None

    def decode(self, ids: Sequence[int]) -> str:
        """The text of `ids`, control tokens included."""
        return str(self._backend.decode(list(ids), skip_special_tokens=False))

    def piece(self, token_id: int) -> str:
        """The vocabulary's entry for a token, as tokenizer.json writes it."""
        return str(self._backend.id_to_token(token_id) or "")

    def id_of(self, piece: str) -> int | None:
        """The id of a vocabulary entry or control token."""
        found = self._backend.token_to_id(piece)
        return None if found is None else int(found)

    def _encode_piece(self, text: str, after: After) -> list[int]:
        if self._bare is None or after == "start":
            return list(self._backend.encode(text, add_special_tokens=False).ids)
        if after == "control":
            return self._behind(self._guard, text)
        # The added space is left out up to the next control token only: behind that one the tokenizer's own way holds.
        match = self._added_pattern.search(text)
        head, tail = (text[: match.start()], text[match.start() :]) if match else (text, "")
        ids = list(self._bare.encode(head, add_special_tokens=False).ids) if head else []
        return ids + (self._behind(self._guard, tail) if tail else [])

    def _ends(self) -> re.Pattern[str]:
        swallowing = [t.content for t in self._backend.get_added_tokens_decoder().values() if t.rstrip]
        return re.compile(rf"(?:(?:{any_of(self.added).pattern})|(?:{any_of(swallowing).pattern})\s*)\Z")

    @property
    def _guard(self) -> str:
        return next(iter(self.control), "")

    def _behind(self, guard: str, text: str) -> list[int]:
        return list(self._backend.encode(guard + text, add_special_tokens=False).ids)[1 if guard else 0 :]

    def _id_of(self, name: str) -> int | None:
        text = self.special_tokens.get(name)
        return None if text is None else self.id_of(text)


def _without_added_space(node: Any) -> Any:
    """A normalizer or pre-tokenizer that puts nothing in front of a text."""
    if isinstance(node, list):
        return [_without_added_space(item) for item in node]
    if not isinstance(node, dict):
        return node
    kind = node.get("type")
    changed = {key: _without_added_space(value) for key, value in node.items()}
    if kind == "Prepend":
        return {**changed, "prepend": ""}
    if kind == "Metaspace" and node.get("prepend_scheme") != "never":
        return {**changed, "prepend_scheme": "never"}
    if kind == "ByteLevel" and node.get("add_prefix_space"):
        return {**changed, "add_prefix_space": False}
    return changed


def any_of(tokens: Iterable[str]) -> re.Pattern[str]:
    """A pattern that finds any of `tokens`, the longest first; nothing where there are none."""
    return re.compile("|".join(map(re.escape, sorted(tokens, key=len, reverse=True))) or r"(?!)")


def _overlapping(pattern: re.Pattern[str], text: str) -> Iterable[re.Match[str]]:
    at = 0
    while (match := pattern.search(text, at)) is not None:
        yield match
        at = match.start() + 1


def _token_text(value: Any) -> str:
    text = value.get("content") if isinstance(value, dict) else value
    return text if isinstance(text, str) else ""


def _read_json(file: Path) -> dict[str, Any]:
    if not file.is_file():
        return {}
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ModelError(f"{file}: not valid JSON ({error}). Fetch the model again.") from error
    return content if isinstance(content, dict) else {}


def _chat_template(folder: Path, config: dict[str, Any]) -> str | None:
    file = folder / "chat_template.jinja"
    if file.is_file():
        return file.read_text(encoding="utf-8")
    template = config.get("chat_template")
    if isinstance(template, list):
        named = {entry.get("name"): entry.get("template") for entry in template if isinstance(entry, dict)}
        template = named.get("default")
    return template if isinstance(template, str) else None


def _stop_ids(folder: Path) -> set[int]:
    """The end tokens that generation_config.json, else config.json, names."""
    for name in ("generation_config.json", "config.json"):
        value = _read_json(folder / name).get("eos_token_id")
        if value is not None:
            return set(value) if isinstance(value, list) else {value}
    return set()


def _sha256(texts: Iterable[str]) -> str:
    digest = hashlib.sha256()
    for text in texts:
        data = text.encode("utf-8", "surrogatepass")
        digest.update(len(data).to_bytes(8, "little") + data)
    return digest.hexdigest()
