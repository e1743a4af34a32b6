"""Adapters on a whole model: put on, taken off, folded in, stored and read in PEFT's file format.

The decision: the format is PEFT's (adapter_config.json and adapter_model.safetensors), so that a result of ours is at
home wherever adapters are; what the format allows and we do not compute is refused by name when it is read.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from peft import LoraConfig
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from transformers.pytorch_utils import Conv1D

from tunesmith.batches.order import derive
from tunesmith.errors import ModelError, RecipeError
from tunesmith.models.folder import read_json, tensor_shapes, write_json
from tunesmith.models.lora import LoraLinear
from tunesmith.models.quantised import quantise
from tunesmith.models.settings import Lora
from tunesmith.models.sources import Source

CONFIG, WEIGHTS, BASE = "adapter_config.json", "adapter_model.safetensors", "base.json"
_PREFIX = "base_model.model."
_ONLY: dict[str, tuple[Any, ...]] = {
    "peft_type": ("LORA",),
    "bias": ("none", None),
    "init_lora_weights": (True, False, "gaussian", "eva", None),  # others change the base when the adapter is made
    **dict.fromkeys(("use_dora", "lora_bias", "use_qalora", "use_bdlora", "layer_replication"), (False, None)),
    **dict.fromkeys(("modules_to_save", "trainable_token_indices", "target_parameters"), (None, [], {})),
    **dict.fromkeys(("alpha_pattern", "megatron_config", "arrow_config"), (None, {})),
}
"""What an adapter's configuration may say; anything else in these fields computes something that we do not."""

_READ_DIRECTLY = ("dt_proj", "out_proj")
_STATE_SPACE = frozenset({"mamba", "mamba2", "falcon_mamba", "falcon_h1", "jamba", "bamba", "nemotron_h", "zamba2"})
"""Model types whose code multiplies by those matrices itself, so that PEFT refuses or passes over an adapter there."""


def adapted(model: nn.Module) -> dict[str, LoraLinear]:
    """The layers with an adapter, by the name that they have in the model."""
    return {name: module for name, module in model.named_modules() if isinstance(module, LoraLinear)}


def linear_layers(model: Any) -> dict[str, nn.Module]:
    """Every linear layer but the output matrix, by name."""
    output = model.get_output_embeddings()
    return {
        name: module
        for name, module in model.named_modules()
        if isinstance(module, nn.Linear | Conv1D) and module is not output
    }


def put_on(model: nn.Module, names: list[str], method: Lora, *, seed: int) -> None:
    """Wrap the linear layers called `names`; each starts from its own random numbers, a function of seed and name."""
    for name in names:
        base = model.get_submodule(name)
        base = quantise(base) if method.quantize == "nf4" else base
        layer = LoraLinear(base, method.rank, scaling(method), dropout=method.dropout)
        layer.start(torch.Generator().manual_seed(derive(seed, f"lora_A {name}")))
        model.set_submodule(name, layer)


def scaling(method: Lora) -> float:
    """alpha / rank, or alpha / sqrt(rank) with rslora (Kalajdzievski, 2023, https://arxiv.org/abs/2312.03732)."""
    return _alpha(method) / (method.rank**0.5 if method.rslora else method.rank)


@contextmanager
def disabled(model: nn.Module) -> Iterator[None]:
    """The base alone inside the block."""
    layers = adapted(model).values()
    before = [layer.enabled for layer in layers]
    for layer in layers:
        layer.enabled = False
    try:
        yield
    finally:
        for layer, enabled in zip(layers, before, strict=True):
            layer.enabled = enabled


def merge(model: nn.Module) -> None:
    """Fold every adapter into its matrix, in place; the model is a plain one afterwards."""
    for name, layer in adapted(model).items():
        model.set_submodule(name, layer.merged())


def save_adapter(model: nn.Module, folder: Path, method: Lora, source: Source) -> None:
    """Write the adapter into `folder`: adapter_config.json, adapter_model.safetensors, and base.json.

    The base is named by hub id and revision where `source` is exactly that, else by its folder; base.json says what
    else is known of it, so that it is found again where the folder lies elsewhere, and recognised by its fingerprint.
    """
    layers = adapted(model)
    if not layers:
        raise ModelError(f"{folder}: the model has no adapter to save.")
    on_hub = source.hub_id is not None and source.revision is not None
    config = LoraConfig(
        task_type="CAUSAL_LM",
        base_model_name_or_path=source.hub_id if on_hub else str(source.folder.absolute()),
        revision=source.revision if on_hub else None,
        r=method.rank,
        lora_alpha=_alpha(method),  # type: ignore[arg-type]
        lora_dropout=method.dropout,
        use_rslora=method.rslora,
        target_modules=_target_names(model, layers),
        fan_in_fan_out=all(isinstance(layer.base, Conv1D) for layer in layers.values()),
        inference_mode=True,
    )
    fields = config.to_dict()  # type: ignore[no-untyped-call]
    values = {key: sorted(value) if isinstance(value, set) else value for key, value in fields.items()}
    folder.mkdir(parents=True, exist_ok=True)
    write_json(folder / CONFIG, values)
    write_json(folder / BASE, {**asdict(source), "folder": str(source.folder), "quantize": method.quantize})
    save_file(adapter_tensors(model), folder / WEIGHTS, metadata={"format": "pt"})


def adapter_tensors(model: nn.Module) -> dict[str, Tensor]:
    """The adapter's tensors under the names of PEFT's file format."""
    return {
        f"{_PREFIX}{name}.{part}.weight": getattr(layer, part).detach().cpu().contiguous()
        for name, layer in adapted(model).items()
        for part in ("lora_A", "lora_B")
    }


def load_adapter(model: nn.Module, folder: Path) -> None:
    """Put the adapter stored in `folder` on its base `model`, frozen.

    Raises:
        ModelError: the files are broken, do not fit this model, or hold a kind of adapter that is not computed here.
    """
    config = read_json(folder / CONFIG)
    _refuse_other_kinds(folder, config)
    in_four_bits = trained_in_four_bits(folder)
    tensor_shapes(folder / WEIGHTS)
    tensors = load_file(folder / WEIGHTS)
    for name in sorted({key.removeprefix(_PREFIX).rsplit(".lora_", 1)[0] for key in tensors}):
        try:
            base = quantise(model.get_submodule(name)) if in_four_bits else model.get_submodule(name)
            a, b = (tensors.pop(f"{_PREFIX}{name}.{part}.weight") for part in ("lora_A", "lora_B"))
        except (AttributeError, KeyError) as error:
            raise ModelError(f"{folder}: {name} does not fit the base model ({error}). Is it its base?") from error
        rank = a.shape[0]
        layer = LoraLinear(base, rank, float(config["lora_alpha"]) / (rank**0.5 if config.get("use_rslora") else rank))
        if (layer.lora_A.shape, layer.lora_B.shape) != (a.shape, b.shape):
            raise ModelError(
                f"{folder}: {name} is for a matrix of another shape. Is this the base that it was made on?"
            )
        with torch.no_grad():
            layer.lora_A.copy_(a)
            layer.lora_B.copy_(b)
        model.set_submodule(name, layer.requires_grad_(False))


def trained_in_four_bits(folder: Path) -> bool:
    """Whether the adapter in `folder` belongs to a base in four bits; then it is put on the same again."""
    return (folder / BASE).is_file() and read_json(folder / BASE).get("quantize") == "nf4"


def restore_adapter(model: nn.Module, folder: Path) -> None:
    """The adapter that is on `model` has the weights stored in `folder`, which was saved from this very model."""
    tensors = load_file(folder / WEIGHTS)
    with torch.no_grad():
        for name, layer in adapted(model).items():
            layer.lora_A.copy_(tensors[f"{_PREFIX}{name}.lora_A.weight"])
            layer.lora_B.copy_(tensors[f"{_PREFIX}{name}.lora_B.weight"])


def target_layers(model: Any, targets: str | tuple[str, ...]) -> list[str]:
    """The names of the linear layers that `method.targets` means.

    Raises:
        RecipeError: a target names no linear layer.
    """
    layers = linear_layers(model)
    if targets == "all-linear":
        inside = {f"{name}." for name, module in model.named_modules() if module is model.base_model and name}
        refused = _READ_DIRECTLY if model.config.model_type in _STATE_SPACE else ()
        fitting = [name for name in layers if name.rsplit(".", 1)[-1] not in refused]
        return [name for name in fitting if not inside or name.startswith(tuple(inside))]
    for target in targets:
        if not any(_ends_so(name, target) for name in layers):
            last = sorted({name.rsplit(".", 1)[-1] for name in layers})
            raise RecipeError(
                f"method.targets: {target} is the name of no linear layer that can get an adapter. "
                f"This model has: {', '.join(last)}."
            )
    return [name for name in layers if any(_ends_so(name, target) for target in targets)]


def _target_names(model: nn.Module, layers: dict[str, LoraLinear]) -> list[str]:
    """The last parts of the adapted layers' names, or the whole names where last parts would say more layers."""
    last = sorted({name.rsplit(".", 1)[-1] for name in layers})
    said = [n for n, _ in model.named_modules() if any(_ends_so(n, target) for target in last)]
    return last if set(said) == set(layers) else sorted(layers)


def _ends_so(name: str, target: str) -> bool:
    return name == target or name.endswith(f".{target}")


def _alpha(method: Lora) -> float:
    return 2 * method.rank if method.alpha is None else method.alpha


def _refuse_other_kinds(folder: Path, config: dict[str, Any]) -> None:
    for name, allowed in _ONLY.items():
        value = config.get(name, allowed[0])
        if value not in allowed:
            raise ModelError(
                f"{folder / CONFIG}: {name} is {value!r}, which is not computed here. Merge the adapter into its base "
                "with PEFT (merge_and_unload) and use the result as model."
            )
