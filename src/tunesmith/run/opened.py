"""A name that stands for a model or a run becomes a model in memory, with the encoder that belongs to it.

The decision: RUN as a model means its best weights, else those of its last step, and which one is said aloud. A run
also brings the system message and the fields that its recipe gave to its data, so the prompts served are those trained.
"""

import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from tunesmith.data.example import AnyExample
from tunesmith.data.reading import Reading, read_examples
from tunesmith.models.folder import is_adapter
from tunesmith.models.forward import Network
from tunesmith.models.load import base_of, load_model
from tunesmith.models.probe import probe
from tunesmith.models.sources import resolve
from tunesmith.recipe import load_recipe
from tunesmith.run.folder import RECIPE, is_started, require_whole, weights_of
from tunesmith.tokens.builtin import BUILT_IN, missing_control_tokens
from tunesmith.tokens.encode import Encoder
from tunesmith.tokens.tokenizer import Tokenizer

Say = Callable[[str], object]


def to_stderr(text: str) -> None:
    """Say it where it does not mix with results."""
    print(text, file=sys.stderr, flush=True)


@dataclass(frozen=True, slots=True)
class Opened:
    """A model ready to answer; `what` says which weights they are.

    `encoder` learns the last assistant turn. `format`, `fields` and `system` are how the run's recipe reads its data.
    """

    model: Any
    encoder: Encoder
    folder: Path
    what: str
    format: str | None = None
    fields: Mapping[str, str] = field(default_factory=dict)
    system: str | None = None

    def network(self, longest: int) -> Network:
        """The model as it is run on whole examples of up to `longest` tokens, which a probe decides."""
        return probe(self.model, longest=longest).network

    def read(self, data: str) -> Reading:
        """The examples of a file, read as the run read its own."""
        return read_examples(data, format=self.format, fields=self.fields, system=self.system)


def open_model(name: str, *, say: Say = to_stderr) -> Opened:
    """The model of a run folder, a model folder, a GGUF file or a name, in float32 (bfloat16 on a GPU).

    Raises:
        UsageError: there is no such model, or the run has no finished weights yet.
        CheckpointError: a run's weights are not those that were saved.
        ModelError: it cannot be loaded.
    """
    run = Path(name)
    if not is_started(run):
        require_whole(run)  # the best or last weights of a run may be named themselves
        folder = resolve(name).folder
        opened = _opened(folder, f"{name} ({folder})" if str(folder) != name else name, say)
        say(f"model: {opened.what}")
        return opened
    folder, what = weights_of(run)
    data = load_recipe(str(run / RECIPE)).recipe.data
    opened = _opened(folder, what, say)
    say(f"model: {what}")
    return Opened(opened.model, opened.encoder, folder, what, data.format, data.fields, data.system)


def _opened(folder: Path, what: str, say: Say) -> Opened:
    words = folder if (folder / "tokenizer.json").is_file() or not is_adapter(folder) else base_of(folder).folder
    encoder = encoder_for(Tokenizer.load(words), say)
    cuda = torch.cuda.is_available()
    model = load_model(folder, dtype=torch.bfloat16 if cuda else torch.float32)
    if cuda:
        model.to("cuda")  # type: ignore[arg-type]
    return Opened(model, encoder, folder, what)


def encoder_for(tokenizer: Tokenizer, say: Say = to_stderr) -> Encoder:
    """The encoder of a model's own template, or of a built-in one where it has none."""
    template = None
    if tokenizer.chat_template is None:
        template = next(name for name in _by_preference() if not missing_control_tokens(BUILT_IN[name], tokenizer))
        say(f"the model has no chat template; prompts are written as {template}")
    return Encoder(tokenizer, train_on="last_assistant", chat_template=template)


def _by_preference() -> Sequence[str]:
    """Built-in templates, those with control tokens first: they mark turns better than plain words do."""
    return sorted(BUILT_IN, key=lambda name: name == "plain")


def limited(examples: Sequence[AnyExample], limit: int | None) -> Sequence[AnyExample]:
    """The first `limit` examples."""
    return examples if limit is None else examples[:limit]
