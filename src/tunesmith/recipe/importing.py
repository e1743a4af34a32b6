"""A recipe from the configuration of another tool: TRL, Axolotl or LLaMA-Factory.

The decision: the tool is recognised by its own keys; defaults of the tool that change the mathematics are written out
as if they had been in the file, so the recipe trains what the configuration would have trained; and whatever is not
translated is named with the reason.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tunesmith.errors import RecipeError
from tunesmith.recipe import peer_data, peer_method
from tunesmith.recipe.draft import Draft
from tunesmith.recipe.loading import decode
from tunesmith.recipe.reading import read_file
from tunesmith.recipe.translation import translate_common
from tunesmith.recipe.writing import write_tree


@dataclass(frozen=True, slots=True)
class Peer:
    """A tool: the keys that only it writes, its defaults, and what it does in its own way."""

    name: str
    signs: frozenset[str]
    defaults: Mapping[str, Any]
    own: tuple[Callable[[Draft, Path], None], ...]


_ARGUMENTS = {"num_train_epochs": 3, "per_device_train_batch_size": 8, "lr_scheduler_type": "linear", "seed": 42}
"""Defaults of transformers' TrainingArguments that change the result."""

PEERS = (
    Peer(
        "Axolotl",
        frozenset({"base_model", "sequence_len", "micro_batch_size", "datasets", "adapter", "num_epochs"}),
        {"gradient_accumulation_steps": 1, "lr_scheduler": "cosine", "seed": 42, "num_epochs": 1},
        (peer_data.axolotl, peer_method.axolotl),
    ),
    Peer(
        "LLaMA-Factory",
        frozenset({"finetuning_type", "stage", "cutoff_len", "template", "dataset_dir", "lora_target", "val_size"}),
        {**_ARGUMENTS, "learning_rate": 5e-5, "weight_decay": 0.0},
        (peer_data.llama_factory, peer_method.llama_factory),
    ),
    Peer(
        "TRL",
        frozenset({"dataset_name", "model_name_or_path", "use_peft", "completion_only_loss", "assistant_only_loss"})
        | frozenset({"packing", "per_device_train_batch_size", "output_dir", "num_train_epochs", "max_length"}),
        {**_ARGUMENTS, "learning_rate": 2e-5, "weight_decay": 0.0},
        (peer_data.trl, peer_method.trl),
    ),
)


def import_recipe(path: Path) -> tuple[str, list[str]]:
    """The recipe that does what another tool's configuration does, as YAML, and notes on what it leaves out.

    Raises:
        RecipeError: the file is no YAML or JSON mapping, belongs to no known tool, or is not supervised fine-tuning.
    """
    configuration = read_file(path).values
    peer = recognise(configuration, str(path))
    _supervised_only(configuration, path)
    draft = Draft({**{k: v for k, v in peer.defaults.items() if k not in configuration}, **configuration})
    for translate in peer.own:
        translate(draft, path.parent)
    translate_common(draft)
    for name, comment in draft.comments.items():
        key = comment.partition(" ")[0]
        if key in peer.defaults and key not in configuration:
            draft.comments[name] = f"{comment}, the default of {peer.name}"
    if "supervision.max_length" in draft.values:
        key = draft.comments["supervision.max_length"].partition(" ")[0]
        draft.note(
            key, f"{peer.name} cuts what is longer; here it stops the run, or data.on_too_long: drop leaves it out"
        )
    tree = draft.tree()
    decode(tree, lambda name: f"{path}: as translated, {name}")
    head = f"# Translated from {path.name} ({peer.name}).\n"
    return head + write_tree(tree, draft.comments), draft.notes


def recognise(configuration: Mapping[str, Any], where: str) -> Peer:
    """The tool whose keys a configuration has; the first of them where several fit equally well."""
    best = max(PEERS, key=lambda peer: len(peer.signs & configuration.keys()))
    if not best.signs & configuration.keys():
        names = ", ".join(peer.name for peer in PEERS)
        raise RecipeError(f"{where}: none of its keys belong to a configuration of {names}.")
    return best


def _supervised_only(configuration: Mapping[str, Any], path: Path) -> None:
    for key in ("stage", "rl"):
        if (value := configuration.get(key)) not in (None, "sft", "pt", False):
            raise RecipeError(f"{path}: {key}: {value} is not supervised fine-tuning, and nothing else is offered yet.")
