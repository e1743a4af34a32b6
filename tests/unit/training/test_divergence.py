"""KL(base ‖ tuned): the hand-made gradient against autograd, and a whole step against one example at a time."""

from typing import Any

import pytest
import torch
from invariants.families import ALONE, BY_FOREST, build
from invariants.test_forest_equals_alone import LONGEST, examples, worst
from torch import nn

from tunesmith.models.head import Head
from tunesmith.models.methods import apply
from tunesmith.models.probe import probe
from tunesmith.models.settings import Lora
from tunesmith.training import divergence as module
from tunesmith.training.divergence import Toward, divergence
from tunesmith.training.step import Pass, backward

ROWS, HIDDEN, VOCABULARY = 37, 12, 50


def head(scale: float, softcap: float | None, *, bias: bool) -> Head:
    made = nn.Parameter(torch.randn(VOCABULARY)) if bias else None
    return Head(nn.Parameter(torch.randn(VOCABULARY, HIDDEN)), made, scale, softcap)


@pytest.mark.parametrize(("scale", "softcap", "bias"), [(1.0, None, False), (0.5, 3.0, True)])
def test_value_and_gradients_equal_those_of_torch(
    scale: float, softcap: float | None, bias: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "TILE_BYTES", 16 * 4 * VOCABULARY)  # several tiles
    torch.manual_seed(0)
    tuned, base = head(scale, softcap, bias=bias), head(scale, softcap, bias=bias)
    rows, rows_of_base, weight = torch.randn(ROWS, HIDDEN), torch.randn(ROWS, HIDDEN), torch.rand(ROWS)
    leaf = rows.clone().requires_grad_()
    log_q, log_p = (torch.log_softmax(z, -1) for z in (tuned.logits(leaf), base.logits(rows_of_base).detach()))
    each = nn.functional.kl_div(log_q, log_p, reduction="none", log_target=True).sum(-1)
    (each * weight).sum().mul(0.25).backward()
    parameters = [tuned.weight, *([tuned.bias] if tuned.bias is not None else [])]
    expected = [p.grad.clone() for p in parameters if p.grad is not None]
    for p in parameters:
        p.grad = None
    value, gradient = divergence(rows, tuned, rows_of_base, base, weight, scale=0.25)
    assert value == pytest.approx(float((each * weight).detach().sum()), rel=1e-5)
    torch.testing.assert_close(gradient, leaf.grad)
    for p, e in zip(parameters, expected, strict=True):
        torch.testing.assert_close(p.grad, e)


def reference(model: Any, base: Any, weight: float) -> tuple[float, dict[str, torch.Tensor]]:
    """Mean KL and the gradients of loss and KL together, by the models' own forwards, one example at a time."""
    members = examples()
    total, nats = sum(e.target_weight for e in members), 0.0
    for example in members:
        ids = torch.from_numpy(example.ids.astype("int64"))
        log_q = torch.log_softmax(model(input_ids=ids[None], use_cache=False).logits[0, :-1].float(), -1)
        with torch.no_grad():
            log_p = torch.log_softmax(base(input_ids=ids[None], use_cache=False).logits[0, :-1].float(), -1)
        counts = torch.from_numpy(example.weights[1:])
        kl = ((log_p.exp() * (log_p - log_q)).sum(-1) * counts).sum() / total
        loss = (-log_q.gather(1, ids[1:, None])[:, 0] * counts).sum() / total
        (loss + weight * kl).backward()
        nats += float(kl.detach())
    grads = {n: p.grad.clone() for n, p in model.named_parameters() if p.grad is not None}
    model.zero_grad()
    return nats, grads


@pytest.mark.parametrize("family", ["Llama", "Gemma 2", "Bloom"])
def test_a_step_drawn_to_a_second_model_is_that_of_one_example_at_a_time(family: str) -> None:
    config = {**BY_FOREST, **ALONE}[family]
    model, base = build(config()), build(config())
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.05 * torch.randn_like(parameter))
    nats, grads = reference(model, base, 0.7)
    network, other = (probe(m, longest=LONGEST).network for m in (model, base))
    how = Pass(60, sharing=True, toward=Toward(0.7, other))
    measured = backward(network, examples(), how, dropout_seed=None)
    assert measured.kl == pytest.approx(nats, rel=1e-4)
    assert worst(model, grads) < 1e-5


def test_without_a_second_model_the_base_is_the_adapter_off() -> None:
    model, base = build(BY_FOREST["Llama"]()), build(BY_FOREST["Llama"]())
    applied = apply(Lora(rank=2), model, seed=1)
    with torch.no_grad():
        for _, parameter in applied.trainable:
            parameter.add_(0.1)
    nats, grads = reference(model, base, 2.0)
    network = probe(model, longest=LONGEST).network
    measured = backward(network, examples(), Pass(9999, sharing=True, toward=Toward(2.0)), dropout_seed=None)
    assert measured.kl == pytest.approx(nats, rel=1e-4)
    assert worst(model, grads) < 1e-5


def test_at_the_base_itself_nothing_is_drawn() -> None:
    model = build(BY_FOREST["Llama"]())
    apply(Lora(rank=2), model, seed=1)
    network = probe(model, longest=LONGEST).network
    drawn = backward(network, examples(), Pass(9999, sharing=True, toward=Toward(5.0)), dropout_seed=None)
    assert drawn.kl == pytest.approx(0.0, abs=1e-6)
