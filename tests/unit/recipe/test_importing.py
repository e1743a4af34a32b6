"""Configurations of other tools: each key is translated, or named with the reason."""

import json
import re
from pathlib import Path
from typing import Any

import pytest

from tunesmith.errors import RecipeError
from tunesmith.models.settings import Frozen, Full, Lora
from tunesmith.recipe import Recipe, load_recipe
from tunesmith.recipe.importing import import_recipe, recognise

TRL: dict[str, Any] = {
    "model_name_or_path": "org/base",
    "dataset_name": "train.jsonl",
    "learning_rate": 2e-4,
    "num_train_epochs": 1.0,
    "packing": True,
    "per_device_train_batch_size": 2,
    "gradient_accumulation_steps": 8,
    "gradient_checkpointing": True,
    "max_length": 1024,
    "eval_strategy": "steps",
    "eval_steps": 100,
    "save_steps": 50,
    "save_total_limit": 2,
    "use_peft": True,
    "lora_r": 32,
    "lora_alpha": 16,
    "lora_target_modules": ["q_proj", "v_proj"],
    "assistant_only_loss": True,
    "bf16": True,
    "warmup_steps": 10,
    "max_grad_norm": 0,
    "output_dir": "out",
    "push_to_hub": False,
    "report_to": "none",
    "seed": 7,
    "optim": "adamw_torch_fused",
    "adam_beta2": 0.95,
}
AXOLOTL: dict[str, Any] = {
    "base_model": "org/base",
    "load_in_4bit": True,
    "datasets": [{"path": "a.jsonl", "type": "alpaca"}, {"path": "b.jsonl", "type": "chat_template"}],
    "val_set_size": 0.1,
    "adapter": "qlora",
    "lora_r": 32,
    "lora_alpha": 16,
    "lora_dropout": 0.05,
    "lora_target_linear": True,
    "sequence_len": 2048,
    "sample_packing": True,
    "gradient_accumulation_steps": 4,
    "micro_batch_size": 2,
    "num_epochs": 4,
    "optimizer": "adamw_bnb_8bit",
    "lr_scheduler": "cosine",
    "learning_rate": 0.0002,
    "train_on_inputs": False,
    "bf16": "auto",
    "warmup_ratio": 0.1,
    "saves_per_epoch": 1,
    "evals_per_epoch": 4,
    "flash_attention": True,
    "wandb_project": None,
    "special_tokens": {"pad_token": "<|end_of_text|>"},
}
LLAMA_FACTORY: dict[str, Any] = {
    "model_name_or_path": "org/base",
    "trust_remote_code": True,
    "stage": "sft",
    "do_train": True,
    "finetuning_type": "lora",
    "lora_target": "q_proj,v_proj",
    "dataset": "mine",
    "template": "llama3",
    "cutoff_len": 2048,
    "mask_history": True,
    "per_device_train_batch_size": 1,
    "gradient_accumulation_steps": 8,
    "num_train_epochs": 3.0,
    "lr_scheduler_type": "cosine",
    "warmup_ratio": 0.1,
    "pure_bf16": True,
    "ddp_timeout": 180000000,
    "val_size": 0.1,
}


def _imported(folder: Path, configuration: dict[str, Any]) -> tuple[Recipe, str, list[str]]:
    path = folder / "theirs.yaml"
    path.write_text(json.dumps(configuration), encoding="utf-8")
    text, notes = import_recipe(path)
    ours = folder / "ours.yaml"
    ours.write_text(text, encoding="utf-8")
    return load_recipe(str(ours)).recipe, text, notes


@pytest.mark.parametrize("configuration", [TRL, AXOLOTL, LLAMA_FACTORY], ids=["trl", "axolotl", "llama-factory"])
def test_every_key_is_translated_or_named(tmp_path: Path, configuration: dict[str, Any]) -> None:
    _, text, notes = _imported(tmp_path, configuration)
    told = set(re.findall(r"[\w.]+", " ".join([line.partition("#")[2] for line in text.splitlines()] + notes)))
    assert set(configuration) <= told


def test_trl_means_the_same_here(tmp_path: Path) -> None:
    recipe, _, _ = _imported(tmp_path, TRL)
    assert recipe.model == "org/base"
    assert recipe.data.train == str(tmp_path / "train.jsonl")
    assert recipe.supervision.train_on == "assistant"
    assert recipe.supervision.max_length == 1024
    assert recipe.method == Lora(rank=32, alpha=16.0, dropout=0.05, targets=("q_proj", "v_proj"))
    assert recipe.training.batch_size == 16
    assert recipe.training.epochs == 1
    assert recipe.training.warmup == 10
    assert recipe.training.clip is None
    assert recipe.training.dtype == "bfloat16"
    assert recipe.training.validation.every == 100
    assert recipe.checkpoints.every == 50
    assert recipe.checkpoints.keep == 2
    assert recipe.seed == 7


def test_defaults_of_the_tool_are_written_out(tmp_path: Path) -> None:
    recipe, text, _ = _imported(tmp_path, {"model_name_or_path": "org/base", "dataset_name": "a.jsonl"})
    assert recipe.training.learning_rate == 2e-5
    assert recipe.training.schedule == "linear"
    assert recipe.training.batch_size == 8
    assert recipe.method == Full()
    assert recipe.data.validation == 0
    assert "the default of TRL" in text


def test_axolotl_means_the_same_here(tmp_path: Path) -> None:
    recipe, _, notes = _imported(tmp_path, AXOLOTL)
    assert recipe.data.train == (str(tmp_path / "a.jsonl"), str(tmp_path / "b.jsonl"))
    assert recipe.data.validation == 0.1
    assert recipe.method == Lora(rank=32, alpha=16.0, dropout=0.05)
    assert recipe.training.batch_size == 8
    assert recipe.training.epochs == 4
    assert recipe.training.dtype == "auto"
    assert recipe.checkpoints.every == "epoch"
    assert any(note.startswith("load_in_4bit") and "not translated" in note for note in notes)
    assert any(note.startswith("evals_per_epoch: not translated") for note in notes)


def test_llama_factory_means_the_same_here(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    registry = {"mine": {"file_name": "mine.json"}}
    (tmp_path / "data" / "dataset_info.json").write_text(json.dumps(registry))
    recipe, _, _ = _imported(tmp_path, LLAMA_FACTORY)
    assert recipe.data.train == str(tmp_path / "data" / "mine.json")
    assert recipe.method == Lora(rank=8, targets=("q_proj", "v_proj"))
    assert recipe.supervision.train_on == "last_assistant"
    assert recipe.training.learning_rate == 5e-5
    assert recipe.training.schedule == "cosine"
    assert recipe.training.dtype == "bfloat16"


def test_a_frozen_run_of_llama_factory_stays_frozen(tmp_path: Path) -> None:
    configuration = {**LLAMA_FACTORY, "finetuning_type": "freeze", "freeze_trainable_layers": 2}
    recipe, _, notes = _imported(tmp_path, configuration)
    assert isinstance(recipe.method, Frozen)
    assert any(note.startswith("freeze_trainable_layers") for note in notes)


def test_a_data_set_of_the_hub_is_named_as_such(tmp_path: Path) -> None:
    configuration = {**TRL, "dataset_name": "org/set", "dataset_config": "easy", "dataset_train_split": "train_sft"}
    recipe, _, _ = _imported(tmp_path, configuration)
    assert recipe.data.train == "hub:org/set:easy:train_sft"
    recipe, _, _ = _imported(tmp_path, {**AXOLOTL, "datasets": [{"path": "org/set", "type": "alpaca"}]})
    assert recipe.data.train == "hub:org/set"


def test_a_data_set_that_is_not_here_is_asked_for(tmp_path: Path) -> None:
    recipe, text, notes = _imported(tmp_path, LLAMA_FACTORY)
    assert recipe.data.train == str(tmp_path / "mine.jsonl")
    assert "to be set" in text
    assert any("mine is no file here" in note for note in notes)


@pytest.mark.parametrize(
    ("key", "value", "reason"),
    [
        ("num_train_epochs", 0.5, "not a whole number"),
        ("lr_scheduler_type", "polynomial", "no schedule polynomial"),
        ("optim", "adafactor", "no optimizer adafactor"),
        ("learning_rate", "fast", "is no value for"),
        ("fp16", True, "float16"),
        ("some_new_key", 1, "no counterpart is known"),
    ],
)
def test_a_value_without_a_counterpart_is_named_with_the_reason(
    tmp_path: Path, key: str, value: Any, reason: str
) -> None:
    _, _, notes = _imported(tmp_path, {**TRL, key: value})
    assert any(key in note.partition(":")[0] and reason in note for note in notes)


@pytest.mark.parametrize(
    ("configuration", "said"),
    [
        ({"hello": 1}, "none of its keys"),
        ({**LLAMA_FACTORY, "stage": "dpo"}, "stage: dpo is not supervised"),
        ({**AXOLOTL, "rl": "dpo"}, "rl: dpo is not supervised"),
        ({**TRL, "lora_r": 0}, "method.rank must be"),
    ],
)
def test_what_cannot_be_a_recipe_is_refused(tmp_path: Path, configuration: dict[str, Any], said: str) -> None:
    with pytest.raises(RecipeError, match=said):
        _imported(tmp_path, configuration)


@pytest.mark.parametrize(
    ("configuration", "name"), [(TRL, "TRL"), (AXOLOTL, "Axolotl"), (LLAMA_FACTORY, "LLaMA-Factory")]
)
def test_a_tool_is_recognised_by_its_keys(configuration: dict[str, Any], name: str) -> None:
    assert recognise(configuration, "theirs.yaml").name == name
