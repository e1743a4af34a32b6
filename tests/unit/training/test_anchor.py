"""L2-SP and EWC: the penalty and its gradient by autograd, and the Fisher information one token at a time."""

import copy
from typing import Any

import pytest
import torch
from invariants.families import BY_FOREST, build
from invariants.test_forest_equals_alone import LONGEST, examples

from tunesmith.models.adapters import adapted
from tunesmith.models.methods import apply
from tunesmith.models.probe import probe
from tunesmith.models.settings import Full, Lora, Method
from tunesmith.training.anchor import anchored, fisher
from tunesmith.training.step import Pass

ALONE = Pass(9999, sharing=True)


def made(method: Method, family: str = "Llama") -> tuple[Any, Any]:
    model = build(BY_FOREST[family]())
    return model, apply(method, model, seed=1)


def moved(trainable: Any) -> None:
    torch.manual_seed(3)
    with torch.no_grad():
        for _, parameter in trainable:
            parameter.add_(0.1 * torch.randn_like(parameter))


def test_a_whole_parameter_is_drawn_by_its_distance_from_the_base() -> None:
    model, applied = made(Full())
    start = {name: p.detach().clone() for name, p in applied.trainable}
    information = {name: torch.rand_like(p) for name, p in applied.trainable}
    anchor = anchored(model, applied.trainable, l2=0.3, ewc=2.0, information=information)
    assert anchor.pull() == 0.0
    moved(applied.trainable)
    model.zero_grad()
    penalty = sum(((0.3 + 2.0 * information[n]) * (p - start[n]) ** 2).sum() for n, p in applied.trainable) / 2
    penalty.backward()
    expected = {name: p.grad.clone() for name, p in applied.trainable}
    model.zero_grad()
    assert anchor.pull() == pytest.approx(float(penalty.detach()), rel=1e-5)
    for name, parameter in applied.trainable:
        torch.testing.assert_close(parameter.grad, expected[name])


@pytest.mark.parametrize("family", ["Llama", "GPT-2"])
def test_an_adapter_is_drawn_by_the_change_of_its_matrix(family: str) -> None:
    model, applied = made(Lora(rank=2), family)
    layers = adapted(model)
    information = {name: torch.rand_like(layer.change()) for name, layer in layers.items()}
    anchor = anchored(model, applied.trainable, l2=0.3, ewc=2.0, information=information)
    assert anchor.pull() == 0.0
    moved(applied.trainable)
    model.zero_grad()
    penalty = sum(((0.3 + 2.0 * information[n]) * layer.change() ** 2).sum() for n, layer in layers.items()) / 2
    penalty.backward()
    expected = {name: p.grad.clone() for name, p in applied.trainable}
    model.zero_grad()
    assert anchor.pull() == pytest.approx(float(penalty.detach()), rel=1e-5)
    for name, parameter in applied.trainable:
        torch.testing.assert_close(parameter.grad, expected[name], rtol=1e-4, atol=1e-6)


def plain_fisher(model: Any) -> dict[str, torch.Tensor]:
    """The mean square of the score over tokens' sequences, by nothing but the model's own forward."""
    members = examples()
    tokens = sum(e.target_weight for e in members)
    found: dict[str, torch.Tensor] = {}
    for example in members:
        ids = torch.from_numpy(example.ids.astype("int64"))
        log_p = torch.log_softmax(model(input_ids=ids[None], use_cache=False).logits[0, :-1].float(), -1)
        (log_p.gather(1, ids[1:, None])[:, 0] * torch.from_numpy(example.weights[1:])).sum().backward()
        for name, p in model.named_parameters():
            found[name] = found.get(name, 0) + p.grad**2 / tokens
        model.zero_grad()
    return found


@pytest.mark.parametrize("family", ["Llama", "GPT-2"])
def test_the_information_is_the_mean_square_of_the_score_for_every_method(family: str) -> None:
    model, applied = made(Full(), family)
    expected = plain_fisher(copy.deepcopy(model))
    found = fisher(probe(model, longest=LONGEST).network, applied.trainable, examples(), ALONE)
    for name, p in expected.items():
        torch.testing.assert_close(found[name], p, rtol=1e-3, atol=1e-7)
    adapted_model, applied = made(Lora(rank=2), family)
    of_adapter = fisher(probe(adapted_model, longest=LONGEST).network, applied.trainable, examples(), ALONE)
    for name, values in of_adapter.items():
        weight = expected[f"{name}.weight"]
        torch.testing.assert_close(values, weight.t() if family == "GPT-2" else weight, rtol=1e-3, atol=1e-7)


def test_finding_the_information_leaves_the_model_as_it_was() -> None:
    model, applied = made(Lora(rank=2))
    before = {name: p.detach().clone() for name, p in model.named_parameters()}
    trained = {name for name, p in model.named_parameters() if p.requires_grad}
    fisher(probe(model, longest=LONGEST).network, applied.trainable, examples(), ALONE)
    assert {name for name, p in model.named_parameters() if p.requires_grad} == trained
    assert all(torch.equal(p, before[name]) and p.grad is None for name, p in model.named_parameters())
