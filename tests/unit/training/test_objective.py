"""The hand-made gradient against autograd, over every way in which a family bends its logits."""

import pytest
import torch
from torch import nn

from tunesmith.models.head import Head
from tunesmith.training import objective
from tunesmith.training.objective import cross_entropy, logit_losses
from tunesmith.training.targets import Targets

ROWS, HIDDEN, VOCABULARY = 37, 12, 50


def case(scale: float, softcap: float | None, bias: bool) -> tuple[torch.Tensor, Head, Targets]:
    torch.manual_seed(0)
    weight = nn.Parameter(torch.randn(VOCABULARY, HIDDEN))
    head = Head(weight, nn.Parameter(torch.randn(VOCABULARY)) if bias else None, scale, softcap)
    count = 60  # more targets than rows: some rows predict several
    row_of = torch.randint(0, ROWS, (count,)).sort().values
    targets = Targets(row_of, torch.randint(0, VOCABULARY, (count,)), torch.rand(count) + 0.1)
    return torch.randn(ROWS, HIDDEN), head, targets


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
@pytest.mark.parametrize(
    ("scale", "softcap", "bias"), [(1.0, None, False), (0.3, None, True), (1.0, 5.0, False), (0.5, 3.0, True)]
)
def test_loss_and_gradients_equal_autograd(
    scale: float, softcap: float | None, bias: bool, smoothing: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(objective, "TILE_BYTES", 16 * 4 * VOCABULARY)  # several tiles
    hidden, head, targets = case(scale, softcap, bias)
    leaf = hidden.clone().requires_grad_()
    smoothed = logit_losses(head.logits(leaf), targets, smoothing=smoothing, scale=0.25)
    parameters = [head.weight, *([head.bias] if head.bias is not None else [])]
    expected = [p.grad.clone() for p in parameters if p.grad is not None]
    for p in parameters:
        p.grad = None
    found = cross_entropy(hidden, head, targets, smoothing=smoothing, scale=0.25)
    torch.testing.assert_close(found.loss, smoothed.loss)
    torch.testing.assert_close(found.gradient, leaf.grad)
    assert torch.equal(found.right, smoothed.right)
    for p, e in zip(parameters, expected, strict=True):
        torch.testing.assert_close(p.grad, e)


def test_smoothing_is_that_of_torch() -> None:
    hidden, head, targets = case(1.0, None, False)
    found = cross_entropy(hidden, head, targets, smoothing=0.2).loss
    logits = head.logits(hidden)[targets.row_of]
    torch.testing.assert_close(
        found, nn.functional.cross_entropy(logits, targets.target, label_smoothing=0.2, reduction="none").detach()
    )


def test_a_frozen_output_matrix_gets_no_gradient() -> None:
    hidden, head, targets = case(1.0, None, False)
    head.weight.requires_grad_(False)
    assert cross_entropy(hidden, head, targets, scale=1.0).gradient is not None
    assert head.weight.grad is None


def test_without_a_scale_nothing_is_differentiated() -> None:
    hidden, head, targets = case(1.0, None, False)
    assert cross_entropy(hidden, head, targets).gradient is None
    assert head.weight.grad is None
