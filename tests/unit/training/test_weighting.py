import math

import pytest
import torch
from torch import nn

from tunesmith.models.head import Head
from tunesmith.training.objective import cross_entropy, logit_losses
from tunesmith.training.settings import TokenWeighting
from tunesmith.training.targets import Targets
from tunesmith.training.weighting import weighted


def case() -> tuple[torch.Tensor, nn.Parameter, Targets]:
    """Hidden rows, an output matrix, and targets of which two share a row."""
    random = torch.Generator().manual_seed(0)
    hidden, matrix = (torch.randn(n, 8, generator=random) for n in (5, 40))
    row_of, target = torch.tensor([0, 1, 1, 3, 4]), torch.tensor([3, 9, 30, 0, 39])
    return hidden, nn.Parameter(matrix), Targets(row_of, target, torch.tensor([1.0, 2.0, 0.5, 1.0, 1.0]))


def factors(logits: torch.Tensor, targets: Targets, kind: TokenWeighting) -> torch.Tensor:
    """The factors by their definitions."""
    p = logits.softmax(-1)
    if kind == "probability":
        return p[targets.row_of, targets.target]
    top = p.topk(20).values
    top = top / top.sum(-1, keepdim=True)
    return (-(top * top.log()).sum(-1) / math.log(20))[targets.row_of]


@pytest.mark.parametrize("kind", ["probability", "entropy"])
def test_the_gradient_is_that_of_the_weighted_loss_and_the_loss_is_not_weighted(kind: TokenWeighting) -> None:
    hidden, matrix, targets = case()
    at = hidden.clone().requires_grad_()
    logits = at @ matrix.t()
    loss = -logits.log_softmax(-1)[targets.row_of, targets.target]
    factor = factors(logits.detach(), targets, kind)
    (loss * targets.weight * factor).sum().mul(0.25).backward()
    expected, matrix.grad = matrix.grad, None
    found = cross_entropy(hidden, Head(matrix, None, 1.0, None), targets, scale=0.25, weighting=kind)
    assert found.gradient is not None
    torch.testing.assert_close(found.gradient, at.grad, rtol=1e-4, atol=1e-6)
    torch.testing.assert_close(matrix.grad, expected, rtol=1e-4, atol=1e-6)
    torch.testing.assert_close(found.loss, loss.detach())


def test_logits_of_a_models_own_are_weighted_alike() -> None:
    hidden, matrix, targets = case()
    logits = (hidden @ matrix.detach().t()).requires_grad_()
    logit_losses(logits, targets, scale=1.0, weighting="probability")
    weight = targets.weight * factors(logits.detach(), targets, "probability")
    again = logits.detach().requires_grad_()
    (-again.log_softmax(-1)[targets.row_of, targets.target] * weight).sum().backward()
    torch.testing.assert_close(logits.grad, again.grad)


def test_a_sure_model_learns_nothing_by_entropy_and_an_absurd_target_nothing_by_probability() -> None:
    logits = torch.zeros(2, 40)
    logits[0, 5] = 100.0
    targets = Targets(torch.tensor([0, 1]), torch.tensor([7, 7]), torch.ones(2))
    assert weighted(logits, targets, "entropy").weight.tolist() == pytest.approx([0, 1], abs=1e-5)
    assert weighted(logits, targets, "probability").weight.tolist() == pytest.approx([0, 1 / 40], abs=1e-6)
    assert weighted(logits, targets, "none") is targets
