"""What `fuzz.py` feeds: one function of bytes for everything that reads what a stranger may send.

The decision: a target returns, or raises an error that is written for the user. Whatever else it does (another
exception, a wrong result, no end, memory without a limit) is a find.
"""

import atexit
import contextlib
import gzip
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open

from tunesmith.data.example import Message
from tunesmith.data.reading import read_examples
from tunesmith.data.records import read_records
from tunesmith.evaluation.task import known as known_tasks
from tunesmith.evaluation.task import load_task, options_of, render
from tunesmith.models.gguf_header import single_values
from tunesmith.models.safetensors_header import header
from tunesmith.recipe import load_recipe
from tunesmith.tokens.builtin import BUILT_IN
from tunesmith.tokens.template import ChatTemplate
from tunesmith.training import checkpoint, journal

SUFFIXES = (".jsonl", ".json", ".csv", ".tsv", ".txt", ".md", ".parquet", ".arrow", ".jsonl.gz", ".csv.zst")
KEYS = ("messages", "role", "content", "conversations", "from", "value", "instruction", "input", "output", "history",
        "prompt", "completion", "chosen", "rejected", "text", "label", "tools", "tool_calls", "function", "arguments",
        "weight", "system", "parent_id", "message_id", "input_ids", "labels", "x")  # fmt: skip
WORDS = (
    "user",
    "assistant",
    "system",
    "human",
    "gpt",
    "tool",
    "",
    "hello",
    "\x00",
    "<|im_end|>",
    "é漢\ud800",
    "{}",
    " \n ",
)
PLACE = Path(tempfile.mkdtemp(prefix="tunesmith-fuzz-", dir="/dev/shm" if Path("/dev/shm").is_dir() else None))
atexit.register(shutil.rmtree, PLACE, ignore_errors=True)


class Choices:
    """Bytes read as choices; when they are used up, the first of everything."""

    def __init__(self, data: bytes) -> None:
        self._data = iter(data)

    def number(self, below: int) -> int:
        return next(self._data, 0) % below

    def value(self, depth: int = 0) -> Any:
        """A value as it may stand in a record."""
        kind = self.number(6 if depth > 4 else 12)
        if kind < 3:
            return WORDS[self.number(len(WORDS))]
        if kind < 6:
            return (None, True, -1, 0.5, 10**30, float("nan"))[self.number(6)]
        if kind < 9:
            return [self.value(depth + 1) for _ in range(self.number(4))]
        return {KEYS[self.number(len(KEYS))]: self.value(depth + 1) for _ in range(self.number(5))}


def records(data: bytes) -> None:
    """Files of every kind: rows or findings, in memory that does not grow with what a header promises."""
    file = PLACE / f"data{SUFFIXES[data[0] % len(SUFFIXES)] if data else '.jsonl'}"
    file.write_bytes(data[1:])
    for _ in read_records(file):
        pass


def recognition(data: bytes) -> None:
    """Rows of any form: examples, findings, or a refusal."""
    choices = Choices(data)
    rows = [choices.value() for _ in range(1 + choices.number(4))]
    read_examples([row if isinstance(row, dict) else {KEYS[choices.number(len(KEYS))]: row} for row in rows])


def spans(data: bytes) -> None:
    """A conversation in a template of ours: spans cover the text, and a message's words are its own."""
    choices = Choices(data)
    roles = ("user", "assistant", "system", "tool")
    messages = [
        Message(roles[choices.number(4)], " ".join(WORDS[choices.number(len(WORDS))] for _ in range(choices.number(4))))
        for _ in range(choices.number(6))
    ]
    rendering = TEMPLATES[choices.number(len(TEMPLATES))].render(messages, generation_prompt=bool(choices.number(2)))
    at = 0
    for span in rendering.spans:
        assert span.start == at, "a gap between spans"
        at = span.end
        if span.author >= 0 and span.words is not None:
            assert rendering.text[span.start : span.end] == span.words.of(messages[span.author].content)
    assert at == len(rendering.text)


def templates(data: bytes) -> None:
    """A template of a stranger: it renders or is refused."""
    ChatTemplate(data.decode("utf-8", "surrogateescape"), {"eos_token": "</s>"}).render([Message("user", "hi")])


def recipes(data: bytes) -> None:
    """A recipe of a stranger: a value or a refusal."""
    file = PLACE / "recipe.yaml"
    file.write_bytes(data)
    load_recipe(str(file))


def tasks(data: bytes) -> None:
    """A benchmark of a stranger: a question of it, or a refusal."""
    file = PLACE / "task.yaml"
    file.write_bytes(data)
    task = load_task(str(file))[0]
    row = {"question": "q", "choices": {"text": ["a", "b"]}, "answer": "a", "input": "q", "target": "a", "subset": "s"}
    render(task.prompt, row, "row")
    options_of(task, row, "row")


def manifests(data: bytes) -> None:
    """A checkpoint with another manifest, state or tensor file: recognised as altered."""
    name = ("manifest.json", "state.json", "weights.safetensors")[data[0] % 3 if data else 0]
    file = CHECKPOINT / name
    whole = file.read_bytes()
    file.write_bytes(data[1:])
    try:
        checkpoint.verified(CHECKPOINT)
        assert data[1:] == whole, "an altered checkpoint was taken for whole"
    finally:
        file.write_bytes(whole)


def journals(data: bytes) -> None:
    """A journal that somebody altered: entries or a refusal."""
    (PLACE / "metrics.jsonl").write_bytes(data)
    journal.read(PLACE / "metrics.jsonl")


def headers(data: bytes) -> None:
    """A safetensors file: refused, or read as the library reads it."""
    file = PLACE / "model.safetensors"
    file.write_bytes(data)
    found = header(file)
    with contextlib.suppress(SafetensorError):  # the library may refuse more, never less
        with safe_open(file, framework="pt") as tensors:
            read = {name: tuple(tensors.get_slice(name).get_shape()) for name in tensors.keys()}  # noqa: SIM118
        assert read == {name: tensor.shape for name, tensor in found.items()}


def gguf_headers(data: bytes) -> None:
    """A GGUF file: its values, or what is wrong with it as a ValueError."""
    file = PLACE / "model.gguf"
    file.write_bytes(data)
    with contextlib.suppress(ValueError):
        single_values(file)


def _checkpoint() -> Path:
    return checkpoint.save(PLACE / "checkpoints", 3, {"weights": {"a": torch.ones(4)}}, {"best": 0.5}, keep=1)


CHECKPOINT = _checkpoint()
TEMPLATES = [ChatTemplate(source, {"eos_token": "</s>", "bos_token": "<s>"}) for source in BUILT_IN.values()]
_ROWS = b'{"messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]}\n{"prompt": 1}\n'
_RECIPE = (
    b"model: smollm2-135m-instruct\ndata:\n  train: x.jsonl\nmethod: {kind: lora, rank: 8}\n"
    b"training: {steps: 3, optimizer: {kind: sgd}}\n"
)


def _safetensors() -> bytes:
    return (CHECKPOINT / "weights.safetensors").read_bytes()


def _gguf() -> bytes:
    from unit.models.folders import gguf_file

    return gguf_file(PLACE / "seed.gguf").read_bytes()[:4000]


TARGETS: dict[str, tuple[Callable[[bytes], None], Callable[[], list[bytes]]]] = {
    "records": (
        records,
        lambda: [bytes([i]) + s for i in range(10) for s in (_ROWS, b"a,b\n1,2\n", gzip.compress(_ROWS))],
    ),
    "recognition": (recognition, lambda: [bytes(range(0, 256, k)) for k in (1, 3, 7)]),
    "spans": (spans, lambda: [bytes(range(0, 256, k)) for k in (1, 5)]),
    "templates": (templates, lambda: [source.encode() for source in BUILT_IN.values()]),
    "recipes": (recipes, lambda: [_RECIPE, b"a: &a [*a]\n", b"!!python/object/apply:os.system ['id']"]),
    "tasks": (tasks, lambda: [path.read_bytes() for path in known_tasks().values()]),
    "manifests": (manifests, lambda: [bytes([i]) + f.read_bytes() for i, f in enumerate(_parts())]),
    "journals": (journals, lambda: [b'{"step": 1, "loss": 0.5}\n{"step": 2}\n']),
    "headers": (headers, lambda: [_safetensors()]),
    "gguf": (gguf_headers, lambda: [_gguf()]),
}


def _parts() -> list[Path]:
    return [CHECKPOINT / name for name in ("manifest.json", "state.json", "weights.safetensors")]
