import pytest
import torch
from torch import nn

from tunesmith.errors import CheckpointError, RecipeError
from tunesmith.training import optimizer
from tunesmith.training.settings import AdamW, Sgd, TrainingSettings

ADAMW = TrainingSettings(learning_rate=0.1, weight_decay=0.5)
SGD = TrainingSettings(learning_rate=0.1, weight_decay=0.5, optimizer=Sgd(momentum=0.9))
Named = list[tuple[str, nn.Parameter]]


def network() -> Named:
    torch.manual_seed(3)
    return [("layer.weight", nn.Parameter(torch.randn(4, 3))), ("layer.bias", nn.Parameter(torch.randn(4)))]


def updates(built: torch.optim.Optimizer, named: Named, steps: range) -> None:
    for step in steps:
        generator = torch.Generator().manual_seed(step)
        for _, parameter in named:
            parameter.grad = torch.randn(parameter.shape, generator=generator)
        built.step()


def bits(named: Named) -> list[bytes]:
    return [parameter.detach().numpy().tobytes() for _, parameter in named]


def test_weight_decay_falls_on_matrices_and_never_on_biases() -> None:
    named = network()
    groups = optimizer.build(named, ADAMW).param_groups
    assert [(group["weight_decay"], group["params"]) for group in groups] == [
        (0.5, [named[0][1]]),
        (0.0, [named[1][1]]),
    ]


def test_the_settings_of_adamw_reach_torch() -> None:
    chosen = ADAMW.model_copy(update={"optimizer": AdamW(beta1=0.8, beta2=0.95, eps=1e-6)})
    defaults = optimizer.build(network(), chosen).defaults
    assert (defaults["betas"], defaults["eps"], defaults["lr"], defaults["fused"]) == ((0.8, 0.95), 1e-6, 0.1, True)


def test_a_rate_of_zero_moves_nothing() -> None:
    named = network()
    before, built = bits(named), optimizer.build(named, ADAMW)
    optimizer.set_rate(built, 0.0)
    updates(built, named, range(1))
    assert bits(named) == before


@pytest.mark.parametrize("settings", [ADAMW, SGD], ids=["adamw", "sgd"])
def test_updates_after_a_reload_give_the_bits_of_updates_without_one(settings: TrainingSettings) -> None:
    straight = network()
    updates(optimizer.build(straight, settings), straight, range(6))

    first = network()
    stopped = optimizer.build(first, settings)
    updates(stopped, first, range(3))
    second = [(name, nn.Parameter(parameter.detach().clone())) for name, parameter in first]
    resumed = optimizer.build(second, settings)
    optimizer.load_state_tensors(resumed, second, optimizer.state_tensors(stopped, first))
    updates(resumed, second, range(3, 6))

    assert bits(second) == bits(straight)


def test_loaded_state_is_a_copy_that_later_updates_do_not_share() -> None:
    named = network()
    built = optimizer.build(named, ADAMW)
    updates(built, named, range(1))
    saved = {name: tensor.clone() for name, tensor in optimizer.state_tensors(built, named).items()}
    kept = {name: tensor.clone() for name, tensor in saved.items()}
    optimizer.load_state_tensors(built, named, saved)
    updates(built, named, range(1, 2))
    assert all(torch.equal(saved[name], kept[name]) for name in kept)


@pytest.mark.parametrize("name", ["other.weight.exp_avg", "layer.bias.exp_avg"])
def test_state_of_another_network_is_refused(name: str) -> None:
    named = network()
    with pytest.raises(CheckpointError, match=name):
        optimizer.load_state_tensors(optimizer.build(named, ADAMW), named, {name: torch.zeros(4, 3)})


def test_settings_that_nobody_resolved_are_refused() -> None:
    with pytest.raises(RecipeError, match="weight_decay"):
        optimizer.build(network(), TrainingSettings(learning_rate=0.1))


def in_bfloat16() -> Named:
    return [(name, nn.Parameter(parameter.detach().bfloat16())) for name, parameter in network()]


def test_updates_too_small_for_bfloat16_add_up_in_its_masters() -> None:
    dtypes = (torch.bfloat16, torch.float32)
    rough, exact = ([("weight", nn.Parameter(torch.ones(2, 2, dtype=dtype)))] for dtype in dtypes)
    for named in (rough, exact):
        built = optimizer.build(named, ADAMW.model_copy(update={"learning_rate": 1e-4, "weight_decay": 0.0}))
        for _ in range(100):
            named[0][1].grad = torch.ones_like(named[0][1])
            built.step()
    assert torch.equal(rough[0][1], exact[0][1].bfloat16())
    assert float(rough[0][1].detach().max()) < 0.995


def test_masters_are_part_of_what_a_resumed_run_gets_back() -> None:
    whole, parted = in_bfloat16(), in_bfloat16()
    built = optimizer.build(whole, ADAMW)
    _bfloat16_updates(built, whole, range(6))
    first = optimizer.build(parted, ADAMW)
    _bfloat16_updates(first, parted, range(3))
    kept = {name: tensor.clone() for name, tensor in optimizer.state_tensors(first, parted).items()}
    assert kept["layer.weight.master"].dtype == torch.float32
    again = optimizer.build(parted, ADAMW)
    optimizer.load_state_tensors(again, parted, kept)
    _bfloat16_updates(again, parted, range(3, 6))
    assert all(torch.equal(a, b) for (_, a), (_, b) in zip(whole, parted, strict=True))
    assert torch.equal(built.state[whole[0][1]]["master"], again.state[parted[0][1]]["master"])


def test_sgd_is_refused_for_weights_in_bfloat16() -> None:
    with pytest.raises(RecipeError, match="lose its updates"):
        optimizer.build(in_bfloat16(), SGD)


def _bfloat16_updates(built: torch.optim.Optimizer, named: Named, steps: range) -> None:
    for step in steps:
        generator = torch.Generator().manual_seed(step)
        for _, parameter in named:
            parameter.grad = torch.randn(parameter.shape, generator=generator).bfloat16()
        built.step()
