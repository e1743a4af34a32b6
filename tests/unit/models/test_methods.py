"""A method says exactly what trains."""

from typing import Any

import pytest
import torch
from invariants.families import ALONE, BY_FOREST, build
from unit.models.folders import model

from tunesmith.errors import RecipeError
from tunesmith.models.adapters import adapted
from tunesmith.models.methods import apply, decoder_layers
from tunesmith.models.settings import Frozen, Full, Lora, Method

FAMILIES = {**BY_FOREST, **ALONE}


def names(method: Method, network: Any) -> list[str]:
    return [name for name, _ in apply(method, network, seed=0).trainable]


def test_full_trains_everything_once() -> None:
    network = model(tie_word_embeddings=True)
    applied = apply(Full(), network, seed=0)
    assert applied.total_parameters == applied.trainable_parameters == 15520
    assert applied.lowest_trained_layer == 0


def test_frozen_keeps_the_lowest_layers_and_tied_embeddings() -> None:
    applied = apply(Frozen(layers=1), model(tie_word_embeddings=True), seed=0)
    assert all(name.startswith(("model.layers.1.", "model.norm.")) for name, _ in applied.trainable)
    assert applied.lowest_trained_layer == 1
    assert any("tied" in note for note in applied.notes)


def test_an_output_matrix_of_its_own_trains_beside_frozen_embeddings() -> None:
    found = names(Frozen(layers=2), model(tie_word_embeddings=False))
    assert found == ["model.norm.weight", "lm_head.weight"]


def test_a_share_counts_layers_from_below() -> None:
    assert apply(Frozen(layers=0.5), model(), seed=0).lowest_trained_layer == 1


def test_embeddings_that_train_need_every_layer() -> None:
    applied = apply(Frozen(layers=1, embeddings=False), model(), seed=0)
    assert applied.lowest_trained_layer == 0
    assert "model.embed_tokens.weight" in dict(applied.trainable)


def test_names_freeze_by_pattern_and_know_tied_names() -> None:
    network = model(tie_word_embeddings=True)
    found = names(Frozen(layers=0, embeddings=False, names=("*mlp*", "lm_head.weight")), network)
    assert found
    assert not any("mlp" in name or "embed" in name for name in found)


@pytest.mark.parametrize(
    ("method", "message"),
    [
        (Frozen(layers=2, names=("*norm*", "lm_head*")), "everything is frozen"),
        (Frozen(layers=9), "9 is more than the 2 layers"),
        (Frozen(names=("model.layer.*",)), r"no parameter is called model\.layer\.\*. There are, for example: model"),
        (Lora(targets=("query",)), "query is the name of no linear layer.*q_proj"),
        (Lora(targets=("lm_head",)), "lm_head is the name of no linear layer that can get an adapter"),
    ],
)
def test_what_cannot_be_meant_is_refused(method: Method, message: str) -> None:
    with pytest.raises(RecipeError, match=message):
        apply(method, model(), seed=0)


def test_lora_trains_two_matrices_beside_each_target() -> None:
    network = model()
    applied = apply(Lora(rank=3, targets=("q_proj", "layers.1.mlp.up_proj")), network, seed=0)
    assert sorted(adapted(network)) == [
        "model.layers.0.self_attn.q_proj", "model.layers.1.mlp.up_proj", "model.layers.1.self_attn.q_proj",
    ]  # fmt: skip
    assert applied.trainable_parameters == 3 * 3 * 64
    assert all(parameter.dtype == torch.float32 for _, parameter in applied.trainable)


def test_the_start_depends_on_seed_and_name_alone() -> None:
    alone, among = model(), model()
    apply(Lora(targets=("v_proj",)), alone, seed=7)
    apply(Lora(), among, seed=7)
    name = "model.layers.1.self_attn.v_proj"
    assert torch.equal(adapted(alone)[name].lora_A, adapted(among)[name].lora_A)
    starts = {float(layer.lora_A.detach().sum()) for layer in adapted(among).values()}
    assert len(starts) == len(adapted(among))


@pytest.mark.parametrize("method", [Full(), Lora()])
def test_a_model_with_an_adapter_is_refused(method: Method) -> None:
    network = model()
    apply(Lora(), network, seed=0)
    with pytest.raises(RecipeError, match="already has an adapter"):
        apply(method, network, seed=0)


def test_experts_in_one_tensor_are_left_alone_aloud() -> None:
    applied = apply(Lora(), build(FAMILIES["Mixtral"]()), seed=0)
    assert "experts" in applied.notes[0]


@pytest.mark.parametrize("family", FAMILIES)
def test_nothing_below_the_lowest_trained_layer_has_a_gradient(family: str) -> None:
    network = build(FAMILIES[family]())
    applied = apply(Frozen(layers=2), network, seed=0)
    ids = torch.arange(3, 11)[None]
    network(input_ids=ids, use_cache=False).logits.square().mean().backward()
    layers = decoder_layers(network)[1]
    assert len(layers) == 3
    assert all(p.grad is None for layer in layers[:2] for p in layer.parameters())
    assert any(p.grad is not None for p in layers[2].parameters())
    assert all(p.grad is None for _, p in network.named_parameters() if not p.requires_grad)
    assert applied.lowest_trained_layer in (0, 2)
