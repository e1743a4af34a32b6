"""A Method applied to a model: which parameters train, and nothing else about training.

The decision: a method is a value and `apply` its only meaning. It works on what a decoder of transformers is made of (a
list of equal blocks, embeddings, an output matrix that may be tied), never on the names of families.
"""

import difflib
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any

from torch import nn

from tunesmith.errors import RecipeError
from tunesmith.models.adapters import adapted, put_on, target_layers
from tunesmith.models.quantised import parameters_in_four_bits
from tunesmith.models.settings import Frozen, Full, Lora, Method


@dataclass(frozen=True, slots=True)
class Applied:
    """What trains.

    `trainable` holds each parameter once, in the model's order. No gradient is needed below layer
    `lowest_trained_layer` (0-based; the number of layers where only what follows them trains). `notes` are sentences
    for the journal.
    """

    trainable: tuple[tuple[str, nn.Parameter], ...]
    total_parameters: int
    trainable_parameters: int
    lowest_trained_layer: int
    notes: tuple[str, ...] = ()


def apply(method: Method, model: Any, *, seed: int) -> Applied:
    """Set what of `model` trains (in place), and say what that is. `seed` draws the start of an adapter.

    Raises:
        RecipeError: the method leaves nothing to train, or names what the model does not have.
    """
    if adapted(model):
        raise RecipeError(
            "model: it already has an adapter. Merge that first: `tunesmith export MODEL --to DIR --merge`."
        )
    match method:
        case Full():
            model.requires_grad_(True)
            notes: tuple[str, ...] = ()
        case Frozen():
            notes = _freeze(method, model)
        case Lora():
            notes = _adapt(method, model, seed)
    trainable = tuple((name, p) for name, p in model.named_parameters() if p.requires_grad)
    if not trainable:
        raise RecipeError("method: everything is frozen, so nothing can be learned. Freeze fewer layers or names.")
    total = sum(p.numel() for p in model.parameters()) + parameters_in_four_bits(model)
    trained = sum(p.numel() for _, p in trainable)
    return Applied(trainable, total, trained, _lowest_trained(model), notes)


def decoder_layers(model: Any) -> tuple[str, nn.ModuleList]:
    """The list of blocks that a decoder is made of, with its name: as long as the configuration says, else the largest.

    Raises:
        RecipeError: the model has no list of blocks.
    """
    lists = [
        (name, module) for name, module in model.named_modules() if isinstance(module, nn.ModuleList) and len(module)
    ]
    if not lists:
        raise RecipeError(
            f"{type(model).__name__} has no list of layers, so the lowest cannot be frozen; use method.names."
        )
    count = getattr(model.config.get_text_config(), "num_hidden_layers", None)
    fitting = [found for found in lists if len(found[1]) == count] or lists
    return max(fitting, key=lambda found: sum(p.numel() for p in found[1].parameters()))


def _freeze(method: Frozen, model: Any) -> tuple[str, ...]:
    model.requires_grad_(True)
    notes = []
    _, layers = decoder_layers(model)
    count = _count(method.layers, len(layers))
    for layer in layers[:count]:
        layer.requires_grad_(False)
    notes.append(f"the lowest {count} of {len(layers)} layers are frozen")
    if method.embeddings:
        inside = set(layers.modules())
        for module in model.modules():
            if isinstance(module, nn.Embedding) and module not in inside:
                module.requires_grad_(False)
        output = model.get_output_embeddings()
        tied = output is not None and output.weight is model.get_input_embeddings().weight
        notes.append(
            "embeddings are frozen" + (", and with them the output matrix, which is tied to them" if tied else "")
        )
    for pattern in method.names:
        notes.append(f"{_freeze_names(model, pattern)} parameters called {pattern} are frozen")
    return tuple(notes)


def _count(layers: int | float, total: int) -> int:
    if layers > total:
        raise RecipeError(f"method.layers: {layers} is more than the {total} layers of the model.")
    if isinstance(layers, float) and layers >= 1 and not layers.is_integer():
        raise RecipeError(f"method.layers: {layers} is neither a number of layers nor a share below 1.")
    return round(layers * total) if layers < 1 else int(layers)


def _freeze_names(model: Any, pattern: str) -> int:
    """How many parameters the pattern has frozen; tied ones answer to each of their names."""
    everything = dict(model.named_parameters(remove_duplicate=False))
    found = [p for name, p in everything.items() if fnmatchcase(name, pattern)]
    if not found:
        near = difflib.get_close_matches(pattern, everything, n=2, cutoff=0.3)
        raise RecipeError(f"method.names: no parameter is called {pattern}. There are, for example: {', '.join(near)}.")
    for parameter in found:
        parameter.requires_grad_(False)
    return len(found)


def _adapt(method: Lora, model: Any, seed: int) -> tuple[str, ...]:
    model.requires_grad_(False)
    names = target_layers(model, method.targets)
    if not names:
        raise RecipeError("method.targets: the model has no linear layers that could get an adapter.")
    put_on(model, names, method, seed=seed)
    notes = []
    if packed := parameters_in_four_bits(model):
        notes.append(
            f"{packed:,} frozen parameters are kept in four bits (NF4): the adapter belongs to the dequantised matrices"
        )
    experts = [name for name, p in model.named_parameters() if p.dim() == 3 and ".experts." in name]
    if experts:
        notes.append(f"{len(experts)} stacked matrices of experts stay frozen: they are no linear layers")
    return tuple(notes)


def _lowest_trained(model: Any) -> int:
    """The lowest layer with a trained parameter; 0 where something before the layers trains."""
    name, layers = decoder_layers(model)
    inside = {id(p) for p in layers.parameters()}
    after = {id(p) for p in _after_layers(model, name)}
    if any(p.requires_grad and id(p) not in inside and id(p) not in after for p in model.parameters()):
        return 0
    trained = [i for i, layer in enumerate(layers) if any(p.requires_grad for p in layer.parameters())]
    return trained[0] if trained else len(layers)


def _after_layers(model: Any, layers_name: str) -> list[nn.Parameter]:
    """Parameters that are used only after the layers: the final norm and an output matrix that is not tied.

    A norm counts as final by its place: modules stand in the order in which they are used in every decoder, except
    rotary embeddings, which have no parameters.
    """
    holder = model.get_submodule(layers_name.rsplit(".", 1)[0]) if "." in layers_name else model
    names = [name for name, _ in holder.named_children()]
    later = names[names.index(layers_name.rsplit(".", 1)[-1]) + 1 :]
    found = [p for name in later for p in holder.get_submodule(name).parameters()]
    output, embeddings = model.get_output_embeddings(), model.get_input_embeddings()
    if output is not None and output.weight is not embeddings.weight:
        found += output.parameters()
    embedded = {id(p) for p in embeddings.parameters()}
    return [p for p in found if id(p) not in embedded]
