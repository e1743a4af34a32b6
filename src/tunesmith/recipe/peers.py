"""What the settings of other tools are called here, so that a habit is answered with a name instead of a refusal.

The decision: one table for TRL, Axolotl, LLaMA-Factory and the OpenAI fine-tuning API. It serves "did you mean" and
the translation of whole configurations; an entry without a setting says why there is none.
"""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Peer:
    """The setting that does the same here (None: there is none), and what to know about the difference."""

    setting: str | None
    remark: str = ""


_BATCH = "batch_size counts the examples of one update, all devices and accumulated micro-batches together"
_ACCUMULATION = (
    "training.batch_size is the examples of one update; memory decides how it is cut into micro-batches, "
    "which does not change the result"
)
_PACKING = "nothing is padded and beginnings are shared, always and exactly, so there is nothing to switch on"
_PRECISION = "one setting for the precision: auto, float32 or bfloat16"
_ATTENTION = "the attention for this machine is chosen, and proved equal, when the model is loaded"
_MEMORY = "activations are recomputed only where memory asks for it; training.micro_batch_tokens bounds the memory"
_TORCHRUN = "several processes are started with torchrun; nothing in the recipe changes"
_TRAIN_ON = "assistant, last_assistant or all; a message's own weight wins"
_ABSOLUTE = "the rate itself, not a multiple of a default"
_REMOTE = "code from model folders is never run"

PEERS: dict[str, Peer] = {
    # the model
    "model_name_or_path": Peer("model"),
    "base_model": Peer("model"),
    "model_name": Peer("model"),
    "pretrained_model_name_or_path": Peer("model"),
    "model_revision": Peer("revision"),
    "trust_remote_code": Peer(None, _REMOTE),
    "attn_implementation": Peer(None, _ATTENTION),
    "flash_attention": Peer(None, _ATTENTION),
    "flash_attn": Peer(None, _ATTENTION),
    "sdp_attention": Peer(None, _ATTENTION),
    "use_liger_kernel": Peer(None, _ATTENTION),
    # the run
    "output_dir": Peer("run"),
    "run_name": Peer("name"),
    "suffix": Peer("name"),
    "data_seed": Peer("seed", "one seed; every purpose derives its own stream from it"),
    # the data
    "dataset": Peer("data.train"),
    "datasets": Peer("data.train"),
    "dataset_name": Peer("data.train"),
    "train_file": Peer("data.train"),
    "training_file": Peer("data.train"),
    "train_data": Peer("data.train"),
    "eval_dataset": Peer("data.validation"),
    "validation_file": Peer("data.validation"),
    "test_datasets": Peer("data.validation"),
    "val_size": Peer("data.validation", "a share of the training data, or a file"),
    "val_set_size": Peer("data.validation", "a share of the training data, or a file"),
    "test_file": Peer("data.test"),
    "default_system": Peer("data.system"),
    "default_system_message": Peer("data.system"),
    "system_prompt": Peer("data.system"),
    # supervision
    "max_length": Peer("supervision.max_length"),
    "max_seq_length": Peer("supervision.max_length"),
    "sequence_len": Peer("supervision.max_length"),
    "cutoff_len": Peer("supervision.max_length"),
    "model_max_length": Peer("supervision.max_length"),
    "template": Peer("supervision.chat_template"),
    "chat_template_path": Peer("supervision.chat_template"),
    "chat_template_jinja": Peer("supervision.chat_template"),
    "train_on_inputs": Peer("supervision.train_on", _TRAIN_ON),
    "train_on_prompt": Peer("supervision.train_on", _TRAIN_ON),
    "assistant_only_loss": Peer("supervision.train_on", _TRAIN_ON),
    "completion_only_loss": Peer("supervision.train_on", _TRAIN_ON),
    "roles_to_train": Peer("supervision.train_on", _TRAIN_ON),
    "mask_history": Peer("supervision.train_on", _TRAIN_ON),
    "packing": Peer(None, _PACKING),
    "sample_packing": Peer(None, _PACKING),
    "eval_sample_packing": Peer(None, _PACKING),
    "eval_packing": Peer(None, _PACKING),
    "neat_packing": Peer(None, _PACKING),
    "pad_to_sequence_len": Peer(None, _PACKING),
    "padding_free": Peer(None, _PACKING),
    "group_by_length": Peer(None, _PACKING),
    # the method
    "finetuning_type": Peer("method.kind"),
    "adapter": Peer("method.kind"),
    "use_peft": Peer("method.kind", "lora or full"),
    "r": Peer("method.rank"),
    "lora_r": Peer("method.rank"),
    "lora_rank": Peer("method.rank"),
    "lora_alpha": Peer("method.alpha"),
    "lora_dropout": Peer("method.dropout"),
    "target_modules": Peer("method.targets"),
    "lora_target": Peer("method.targets"),
    "lora_target_modules": Peer("method.targets"),
    "lora_target_linear": Peer("method.targets", "all-linear"),
    "use_rslora": Peer("method.rslora"),
    "peft_use_rslora": Peer("method.rslora"),
    "freeze_trainable_layers": Peer("method.layers", "counts the frozen layers, not the trained ones"),
    # optimisation
    "lr": Peer("training.learning_rate"),
    "learning_rate_multiplier": Peer("training.learning_rate", _ABSOLUTE),
    "num_train_epochs": Peer("training.epochs"),
    "num_epochs": Peer("training.epochs"),
    "n_epochs": Peer("training.epochs"),
    "max_steps": Peer("training.steps"),
    "per_device_train_batch_size": Peer("training.batch_size", _BATCH),
    "train_batch_size": Peer("training.batch_size", _BATCH),
    "micro_batch_size": Peer("training.batch_size", _BATCH),
    "gradient_accumulation_steps": Peer(None, _ACCUMULATION),
    "per_device_eval_batch_size": Peer(None, "validation is cut into micro-batches by the same token budget"),
    "eval_batch_size": Peer(None, "validation is cut into micro-batches by the same token budget"),
    "optimizer": Peer("training.optimizer.kind", "adamw or sgd"),
    "optim": Peer("training.optimizer.kind", "adamw or sgd"),
    "adam_beta1": Peer("training.optimizer.beta1"),
    "adam_beta2": Peer("training.optimizer.beta2"),
    "adam_epsilon": Peer("training.optimizer.eps"),
    "lr_scheduler": Peer("training.schedule", "constant, linear or cosine"),
    "lr_scheduler_type": Peer("training.schedule", "constant, linear or cosine"),
    "warmup_steps": Peer("training.warmup", "a number of updates, or a share below 1"),
    "warmup_ratio": Peer("training.warmup", "a number of updates, or a share below 1"),
    "max_grad_norm": Peer("training.clip"),
    "gradient_clipping": Peer("training.clip"),
    "label_smoothing_factor": Peer("training.label_smoothing"),
    "bf16": Peer("training.dtype", _PRECISION),
    "fp16": Peer("training.dtype", _PRECISION),
    "pure_bf16": Peer("training.dtype", _PRECISION),
    "torch_dtype": Peer("training.dtype", _PRECISION),
    "gradient_checkpointing": Peer(None, _MEMORY),
    "deepspeed": Peer(None, _TORCHRUN),
    "fsdp": Peer(None, _TORCHRUN),
    "fsdp_config": Peer(None, _TORCHRUN),
    # validation and checkpoints
    "eval_steps": Peer("training.validation.every"),
    "eval_strategy": Peer("training.validation.every"),
    "evaluation_strategy": Peer("training.validation.every"),
    "evals_per_epoch": Peer("training.validation.every"),
    "metric_for_best_model": Peer("training.validation.metric"),
    "early_stopping_patience": Peer("training.validation.patience"),
    "save_steps": Peer("checkpoints.every"),
    "save_strategy": Peer("checkpoints.every"),
    "saves_per_epoch": Peer("checkpoints.every"),
    "save_total_limit": Peer("checkpoints.keep"),
    "resume_from_checkpoint": Peer(None, "a run is resumed by `tunesmith train --resume RUN`"),
}
