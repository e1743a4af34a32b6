"""A network in memory becomes a model folder that transformers loads, with its tokenizer beside it.

The decision: a folder is complete: weights without the tokenizer and chat template that they were trained with are not
a model.
"""

import shutil
from pathlib import Path
from typing import Any

from transformers import GenerationConfig, PreTrainedModel

from tunesmith.models.quiet import quiet

GENERATION = "generation_config.json"
BESIDE = (
    *("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json", "tokenizer.model"),
    *("vocab.json", "vocab.txt", "merges.txt", "chat_template.jinja", "chat_template.json", GENERATION),
)
"""Files that belong to a model besides its weights and configuration."""


def write_model(model: PreTrainedModel, folder: Path, *, source_folder: Path) -> None:
    """Fill the existing `folder` with the model: safetensors, configurations, and what lies in `source_folder`.

    A model that carries adapters would be written with them in it; they are merged or saved alone. Whoever calls makes
    the folder whole or absent.
    """
    network: Any = model
    own = network.generation_config
    if (source_folder / GENERATION).is_file():
        # The source's file is copied as it is: transformers refuses to write some that it reads.
        network.generation_config = GenerationConfig()  # type: ignore[no-untyped-call]
    try:
        with quiet():
            model.save_pretrained(folder)
    finally:
        network.generation_config = own
    copy_beside(source_folder, folder)


def copy_beside(source_folder: Path, folder: Path) -> None:
    """Copy tokenizer, chat template and generation settings, where `source_folder` has them."""
    for name in BESIDE:
        if (source_folder / name).is_file():
            shutil.copyfile(source_folder / name, folder / name)
