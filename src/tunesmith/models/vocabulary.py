"""A model whose vocabulary grew: another model folder, made once.

The decision: added tokens are a property of the model, not of a run. The enlarged model is a folder like any other, so
training, an adapter's base, evaluation and serving all mean the same matrix, and PEFT finds it without special care.
"""

from collections.abc import Mapping
from dataclasses import replace
from hashlib import sha256
from pathlib import Path

import torch
from torch import Tensor, nn
from transformers import AutoConfig

from tunesmith.batches.order import derive
from tunesmith.models.cache import home, made_once
from tunesmith.models.fingerprint import fingerprint
from tunesmith.models.load import load_model
from tunesmith.models.quiet import quiet
from tunesmith.models.save import write_model
from tunesmith.models.sources import Source


def with_tokens(source: Source, files: Mapping[str, str], *, like: Mapping[int, int]) -> Source:
    """`source` with new tokenizer `files` (name → text) and rows for the ids in `like` (new id → id it starts as).

    A new row starts as a copy of the row of a token that does the same work (an end of turn as the end of a text), plus
    noise of a hundredth of the matrix' spread, because two equal rows could never be told apart by their logits. A
    vocabulary is often padded; a padding row that `like` names is started in the same way.
    """
    said = "\n".join(
        [source.fingerprint, *(f"{name}\n{files[name]}" for name in sorted(files)), repr(sorted(like.items()))]
    )
    key = sha256(said.encode()).hexdigest()[:12]

    def make(partial: Path) -> None:
        dtype = AutoConfig.from_pretrained(source.folder, trust_remote_code=False).dtype or torch.float32
        model = load_model(source.folder, dtype=dtype)
        resize(model, like)
        write_model(model, partial, source_folder=source.folder)
        for name, text in files.items():
            (partial / name).write_text(text, encoding="utf-8")

    folder = made_once(home() / "models" / f"{source.name}-tokens-{key}", make)
    return replace(source, folder=folder, revision=None, fingerprint=fingerprint(folder))


@torch.no_grad()
def resize(model: nn.Module, like: Mapping[int, int]) -> None:
    """Give input and output embeddings, in place, the rows that `like` names; tied matrices stay tied."""
    inputs = model.get_input_embeddings()  # type: ignore[operator]
    if max(like) >= inputs.num_embeddings:
        with quiet():
            model.resize_token_embeddings(max(like) + 1, mean_resizing=False)  # type: ignore[operator]
        inputs = model.get_input_embeddings()  # type: ignore[operator]
    output = model.get_output_embeddings()  # type: ignore[operator]
    _start_rows(inputs.weight, like, "embedding")
    if output is not None and output.weight is not inputs.weight:
        _start_rows(output.weight, like, "output")


def _start_rows(rows: Tensor, like: Mapping[int, int], purpose: str) -> None:
    spread = rows.float().std(dim=0) / 100
    for new, old in like.items():
        generator = torch.Generator().manual_seed(derive(0, f"new token's {purpose}", new))
        noise = torch.randn(rows.shape[1], generator=generator).to(rows.device)
        rows[new] = (rows[old].float() + noise * spread).to(rows.dtype)
