"""What of the network trains, as TRL, Axolotl and LLaMA-Factory say it."""

from pathlib import Path
from typing import Any

from tunesmith.recipe.draft import Draft, written
from tunesmith.recipe.translation import attempt

_FULL = "every parameter trains, so it has no effect"
_QUANTISED = "not translated: for a base in four bits set method.quantize=nf4; other kinds are not offered"


def trl(draft: Draft, _folder: Path) -> None:
    """TRL: `use_peft`, and PEFT's LoRA with rank 16, alpha 32, dropout 0.05 where nothing is said."""
    adapters = draft.take("use_peft")
    lora = draft.take("lora_r", "lora_alpha", "lora_dropout", "lora_target_modules", "use_rslora")
    _no_others(draft, "use_dora", "lora_modules_to_save", "lora_target_parameters", "lora_task_type")
    _quantised(draft)
    if not adapters.get("use_peft"):
        return _full(draft, adapters or "use_peft", lora)
    if not lora.get("lora_target_modules"):
        draft.note("lora_target_modules", "not written: TRL takes PEFT's choice for the family, here all-linear")
    defaults = {"lora_r": 16, "lora_alpha": 32, "lora_dropout": 0.05}
    return _lora(draft, written(adapters), {**defaults, **lora}, rank="lora_r")


def axolotl(draft: Draft, _folder: Path) -> None:
    """Axolotl: `adapter`, and `lora_target_linear` or a list of modules."""
    adapter = draft.take("adapter")
    lora = draft.take("lora_r", "lora_alpha", "lora_dropout", "lora_target_modules", "peft_use_rslora")
    linear = draft.take("lora_target_linear")
    if any(linear.values()):
        # Every linear layer includes those of a list beside it.
        lora = {key: lora[key] for key in lora if key != "lora_target_modules"} | {"lora_target_linear": "all-linear"}
    elif linear:
        draft.note(linear, "off, as here")
    _no_others(draft, "peft_use_dora", "lora_modules_to_save", "lora_fan_in_fan_out", "lora_model_dir")
    _quantised(draft)
    if not adapter:
        return _full(draft, "adapter", lora)
    return _lora(draft, written(adapter), lora, rank="lora_r")


def llama_factory(draft: Draft, _folder: Path) -> None:
    """LLaMA-Factory: `finetuning_type` lora (rank 8, alpha twice the rank), full or freeze."""
    kind = draft.take("finetuning_type") or {"finetuning_type": "lora"}
    lora = draft.take("lora_rank", "lora_alpha", "lora_dropout", "lora_target", "use_rslora")
    _no_others(draft, "use_dora", "additional_target", "loraplus_lr_ratio", "pissa_init")
    _quantised(draft)
    if kind["finetuning_type"] == "lora":
        return _lora(draft, written(kind), {"lora_rank": 8, **lora}, rank="lora_rank")
    if kind["finetuning_type"] == "full":
        return _full(draft, kind, lora)
    trained = draft.take("freeze_trainable_layers", "freeze_trainable_modules", "freeze_extra_modules")
    draft.put("method.kind", "frozen", written(kind))
    draft.note(
        [*trained, *lora] or "freeze_trainable_layers",
        "not translated: it counts the trained layers, method.layers the frozen ones, or their share; set it",
    )
    return None


def _lora(draft: Draft, reason: str, lora: dict[str, Any], *, rank: str) -> None:
    draft.put("method.kind", "lora", reason)
    settings = {rank: "method.rank", "lora_alpha": "method.alpha", "lora_dropout": "method.dropout"}
    settings |= dict.fromkeys(("lora_target", "lora_target_modules", "lora_target_linear"), "method.targets")
    settings |= dict.fromkeys(("use_rslora", "peft_use_rslora"), "method.rslora")
    for key, value in lora.items():
        attempt(draft, key, settings[key], value)


def _full(draft: Draft, keys: dict[str, Any] | str, unused: dict[str, Any]) -> None:
    reason = f"{keys} is not set" if isinstance(keys, str) else written(keys)
    draft.put("method.kind", "full", reason)
    if unused:
        draft.note(unused, _FULL)


def _no_others(draft: Draft, *keys: str) -> None:
    for key, value in draft.take(*keys).items():
        draft.note(key, "off, as here" if not value else "not translated: this kind of adapter is not offered")


def _quantised(draft: Draft) -> None:
    bits = draft.take("load_in_4bit", "load_in_8bit", "quantization_bit")
    on = [key for key, value in bits.items() if value]
    if on:
        draft.note(on, _QUANTISED)
    if off := [key for key in bits if key not in on]:
        draft.note(off, "off, as here")
    if kinds := draft.take(*[key for key in draft.rest if "bnb" in key or key.startswith("quantization")]):
        draft.note(kinds, _QUANTISED)
