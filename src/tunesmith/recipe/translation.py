"""What TRL, Axolotl and LLaMA-Factory configurations have in common, translated.

The decision: keys that only mean something together (micro-batch and accumulation, strategy and steps) are taken
together first; a key with a plain counterpart follows the table of peers; the rest is named with its reason.
"""

from collections.abc import Callable
from fnmatch import fnmatch
from typing import Any

from tunesmith.recipe.conversion import CONVERSIONS, number, whole
from tunesmith.recipe.draft import Draft, Untranslatable, written
from tunesmith.recipe.faults import known
from tunesmith.recipe.peers import PEERS

_REASONS: tuple[tuple[str, str], ...] = (
    ("logging_*", "every step is always written to metrics.jsonl"),
    ("log_*", "every step is always written to metrics.jsonl"),
    ("report_to", "every step is always written to metrics.jsonl"),
    ("wandb_*", "every step is always written to metrics.jsonl"),
    ("mlflow_*", "every step is always written to metrics.jsonl"),
    ("use_tensorboard", "every step is always written to metrics.jsonl"),
    ("disable_tqdm", "the progress line shows itself only in a terminal"),
    ("plot_loss", "every run draws loss.png"),
    ("push_to_hub", "models are not uploaded"),
    ("hub_*", "models are not uploaded"),
    ("dataloader_*", "examples are encoded before the first step"),
    ("*_num_workers", "examples are encoded before the first step"),
    ("*num_proc*", "examples are encoded before the first step"),
    ("dataset_prepared_path", "encoded examples are cached by their content"),
    ("overwrite_cache", "encoded examples are cached by their content"),
    ("output_dir", "every run makes a folder of its own; set run to choose its name"),
    ("overwrite_output_dir", "a run folder that exists is never overwritten"),
    ("ddp_*", "several processes are started with torchrun; nothing in the recipe changes"),
    ("fsdp*", "several processes are started with torchrun; nothing in the recipe changes"),
    ("deepspeed*", "several processes are started with torchrun; nothing in the recipe changes"),
    ("local_rank", "several processes are started with torchrun; nothing in the recipe changes"),
    ("gradient_checkpointing*", "activations are recomputed only where memory asks for it"),
    ("activation_*", "activations are recomputed only where memory asks for it"),
    ("*flash_att*", "the attention for this machine is chosen and proved when the model is loaded"),
    ("*attention", "the attention for this machine is chosen and proved when the model is loaded"),
    ("torch_compile*", "compilation is decided by the machine"),
    ("use_cache", "it has no effect on training"),
    ("model_type", "the model's own configuration says what it is"),
    ("tokenizer_type", "the model's own configuration says what it is"),
    ("tf32", "float32 is computed as float32"),
    ("do_*", "`tunesmith train` and `tunesmith evaluate` are commands"),
    ("remove_unused_columns", "fields that a format does not use are left out and named"),
    ("load_best_model_at_end", "the best checkpoint is always kept, in best/"),
    ("greater_is_better", "a metric knows its own direction"),
    ("neftune_noise_alpha", "noise on the embeddings is not offered"),
    ("noisy_embedding_alpha", "noise on the embeddings is not offered"),
    ("*liger*", "the loss is always computed without keeping the logits"),
    ("special_tokens", "the model's own special tokens are used, and nothing is padded"),
    ("pad_*", "the model's own special tokens are used, and nothing is padded"),
    ("eos_token", "the template's own end token is used"),
    ("max_samples", "cut the file instead, so that what was trained can be seen"),
    ("eval_batch*", "validation is cut into micro-batches by the same token budget"),
    ("*_full_eval", "validation computes as training does"),
    ("eval_*", "validation reads every example once, as often as training.validation.every says"),
    ("batch_eval_metrics", "validation reads every example once, as often as training.validation.every says"),
    ("prediction_loss_only", "validation reads every example once, as often as training.validation.every says"),
    ("save_*", "a checkpoint always holds all that an exact resume needs"),
    ("ignore_data_skip", "a resumed run is always the uninterrupted one"),
    ("restore_callback*", "a resumed run is always the uninterrupted one"),
    ("full_determinism", "on a CPU every run is; on a GPU set training.deterministic"),
    ("average_tokens_across_devices", "the loss is always divided by the weight of the whole step"),
    ("auto_find_batch_size", "micro-batches are sized from shapes and total memory"),
    ("use_cpu", "the device is the best of the machine"),
    ("accelerator_config", "the device is the best of the machine"),
    ("shuffle_*", "examples are always shuffled, by seed and epoch"),
    ("train_sampling_strategy", "examples are always shuffled, by seed and epoch"),
    ("truncation_mode", "an answer is never cut"),
    ("packing_strategy", "nothing is padded, so there is nothing to pack"),
    ("length_column_name", "nothing is padded, so there is nothing to pack"),
    ("loss_type", "the loss is cross entropy over the learned words"),
    ("loss_watchdog_*", "a loss that is not finite stops the run before the update"),
    ("skip_memory_metrics", "every step is always written to metrics.jsonl"),
    ("include_num_input_tokens_seen", "every step is always written to metrics.jsonl"),
    ("project", "every step is always written to metrics.jsonl"),
    ("debug", "`tunesmith --debug` shows the traceback of an error"),
)
"""Keys without a counterpart, by pattern, and why there is none."""

_UNKNOWN = "no counterpart is known; check whether it matters"


def translate_common(draft: Draft) -> None:
    """Translate all keys that the tools share, and name every key that is left."""
    nulls = [key for key in draft.rest if draft.rest[key] is None or draft.rest[key] in ("", [], {})]
    for key in nulls:
        del draft.rest[key]
    for group in (_batch, _length, _warmup, _precision, _validation, _saving):
        group(draft)
    for key in list(draft.rest):
        _one(draft, key, draft.rest.pop(key))
    if nulls:
        draft.note(nulls, "empty, so there is nothing to translate")


def attempt(draft: Draft, key: str, setting: str, value: Any, convert: Callable[[Any], Any] | None = None) -> None:
    """Put one converted value, or the note that says why it cannot be converted."""
    try:
        draft.put(setting, (convert or CONVERSIONS[setting])(value), f"{key} {value}")
    except Untranslatable as reason:
        draft.note(key, f"not translated: {reason}")
    except (TypeError, ValueError):
        draft.note(key, f"not translated: {value!r} is no value for {setting}")


def _one(draft: Draft, key: str, value: Any) -> None:
    if (setting := _counterpart(key)) in CONVERSIONS:
        if setting in draft.values:
            draft.note(key, f"not translated: {setting} is already set ({draft.comments[setting]})")
        else:
            attempt(draft, key, setting, value)
        return
    reason = next((reason for pattern, reason in _REASONS if fnmatch(key, pattern)), None)
    remark = PEERS[key].remark if key in PEERS else ""
    draft.note(key, f"not translated: {reason or remark or _UNKNOWN}")


def _counterpart(key: str) -> str | None:
    if key in PEERS:
        return PEERS[key].setting
    same = {setting.name for setting in known() if setting.leaf == key}
    return same.pop() if len(same) == 1 else None


def _batch(draft: Draft) -> None:
    parts = draft.take("per_device_train_batch_size", "micro_batch_size", "gradient_accumulation_steps")
    if not parts:
        return
    try:
        size = 1
        for value in parts.values():
            size *= whole(value)
    except ValueError:
        draft.note(parts, f"not translated: {written(parts)} is no number of examples; set training.batch_size")
        return
    draft.put("training.batch_size", size, f"{written(parts)}, on one device; times the number of devices")


def _length(draft: Draft) -> None:
    if steps := draft.take("max_steps"):
        if whole(steps["max_steps"]) > 0:
            attempt(draft, "max_steps", "training.steps", steps["max_steps"], whole)
        else:
            draft.note("max_steps", "no limit, as here")


def _warmup(draft: Draft) -> None:
    warmup = draft.take("warmup_steps", "warmup_ratio")
    # The other tools let the steps win where both are written.
    for key, convert in (("warmup_steps", _steps_or_share), ("warmup_ratio", number)):
        if key in warmup and "training.warmup" not in draft.values and (warmup[key] or len(warmup) == 1):
            attempt(draft, key, "training.warmup", warmup[key], convert)
        elif key in warmup:
            draft.note(key, f"{warmup[key]}, without effect beside the other")


def _steps_or_share(value: Any) -> int | float:
    return number(value) if 0 < float(value) < 1 else whole(value)


def _precision(draft: Draft) -> None:
    chosen = draft.take("bf16", "fp16", "pure_bf16", "bfloat16", "float16")
    half = [key for key in chosen if key in ("fp16", "float16")]
    brain = [key for key in chosen if key not in half]
    if any(chosen[key] is True for key in half):
        draft.note(half, "not translated: float16 needs loss scaling, which is not offered; training.dtype is auto")
    elif half:
        draft.note(half, "off, as here")
    if not brain:
        return
    switch = {"True": "bfloat16", "False": "float32"}.get(str(chosen[brain[0]]), "auto")
    draft.put("training.dtype", switch, written({key: chosen[key] for key in brain}))


def _validation(draft: Draft) -> None:
    keys = draft.take("eval_strategy", "evaluation_strategy", "do_eval", "eval_steps", "evals_per_epoch")
    strategy = str(keys.get("eval_strategy", keys.get("evaluation_strategy", "steps" if "eval_steps" in keys else "")))
    _every(draft, keys, "training.validation.every", strategy, "eval_steps", "evals_per_epoch")


def _saving(draft: Draft) -> None:
    keys = draft.take("save_strategy", "save_steps", "saves_per_epoch")
    strategy = str(keys.get("save_strategy", "steps" if "save_steps" in keys else ""))
    _every(draft, keys, "checkpoints.every", strategy, "save_steps", "saves_per_epoch")


def _every(draft: Draft, keys: dict[str, Any], setting: str, strategy: str, steps: str, per_epoch: str) -> None:
    """An interval from a strategy and its number: steps, epoch, or so many times an epoch."""
    if not keys:
        return
    if strategy == "epoch" or keys.get(per_epoch) == 1:
        draft.put(setting, "epoch", written(keys))
    elif strategy == "steps" and steps in keys and float(keys[steps]) >= 1:
        draft.put(setting, whole(keys[steps]), written(keys))
    elif strategy in ("no", "False"):
        draft.note(keys, "off; here it costs little and is done by default")
    else:
        draft.note(keys, f"not translated: {written(keys)} is no number of steps; set {setting}")
