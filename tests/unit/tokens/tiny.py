"""Tiny tokenizers built in code: bytes with the merges that a test names, and the control tokens of its template."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

from tokenizers import AddedToken, decoders, models, normalizers, pre_tokenizers, processors
from tokenizers import Tokenizer as Backend

from tunesmith.data.example import Example, Message, Origin
from tunesmith.tokens.tokenizer import Tokenizer

HERE = Origin("chat.jsonl", 1)
CHATML = (
    "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>\n' }}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
ALPHABET = sorted(pre_tokenizers.ByteLevel.alphabet())


def byte_level(
    *,
    merges: Sequence[tuple[str, str]] = (),
    control: Sequence[str] = ("<|im_start|>", "<|im_end|>"),
    plain: Sequence[str] = (),
    split: bool = True,
) -> Backend:
    """A byte-level BPE tokenizer; `control` are special tokens, `plain` added ones that are not special."""
    words = [*ALPHABET, *("".join(pair) for pair in merges)]
    backend = Backend(models.BPE(vocab={word: i for i, word in enumerate(words)}, merges=list(merges)))
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=split)
    backend.decoder = decoders.ByteLevel()
    backend.add_tokens([AddedToken(text, normalized=False) for text in plain])
    backend.add_special_tokens([AddedToken(text, normalized=False) for text in control])
    return backend


def with_spaces(control: Sequence[str] = ("<s>", "</s>"), *, scheme: str = "prepend") -> Backend:
    """A SentencePiece-like tokenizer that puts a space in front: `prepend` behind every control token, `first` once."""
    words = ["<unk>", "▁", *map(chr, range(33, 127)), "\n"]
    backend = Backend(models.BPE(vocab={word: i for i, word in enumerate(words)}, merges=[], unk_token="<unk>"))
    if scheme == "prepend":
        backend.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
        backend.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.Fuse(), decoders.Strip(" ", 1, 0)])
    else:
        backend.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme=scheme, split=False)
        backend.decoder = decoders.Metaspace(prepend_scheme=scheme, split=False)
    backend.add_special_tokens([AddedToken(text, normalized=False) for text in control])
    return backend


def putting_bos_in_front(backend: Backend, bos: str) -> Backend:
    """The tokenizer with a post-processor that begins every plain text with `bos`."""
    backend.post_processor = processors.TemplateProcessing(
        single=f"{bos} $A", special_tokens=[(bos, backend.token_to_id(bos))]
    )
    return backend


def saved(
    folder: Path,
    backend: Backend,
    *,
    config: Mapping[str, object] | None = None,
    template: str | None = CHATML,
    generation: Mapping[str, object] | None = None,
) -> Path:
    """A model folder that holds the tokenizer's files."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "tokenizer.json").write_text(backend.to_str(), encoding="utf-8")
    settings = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        **({"eos_token": "<|im_end|>"} if config is None else config),
    }
    (folder / "tokenizer_config.json").write_text(json.dumps(settings), encoding="utf-8")
    if template is not None:
        (folder / "chat_template.jinja").write_text(template, encoding="utf-8")
    if generation is not None:
        (folder / "generation_config.json").write_text(json.dumps(generation), encoding="utf-8")
    return folder


def loaded(folder: Path, backend: Backend, **files: object) -> Tokenizer:
    """The tokenizer as Tunesmith loads it from a folder."""
    return Tokenizer.load(saved(folder, backend, **files))  # type: ignore[arg-type]


def chat(*turns: str, weights: Mapping[int, float] | None = None) -> Example:
    """A conversation of user and assistant in turn; a turn that begins with `system:` is the system's."""
    messages: list[Message] = []
    for text in turns:
        if text.startswith("system:"):
            messages.append(Message("system", text.removeprefix("system:")))
            continue
        role = "assistant" if messages and messages[-1].role == "user" else "user"
        messages.append(Message(role, text, weight=(weights or {}).get(len(messages))))
    return Example(tuple(messages), HERE)
