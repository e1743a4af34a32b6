from collections.abc import Iterator

import pytest
import torch
from torch import nn

from tunesmith.models.few_rows import Cores, _crowded, few_rows, linear


@pytest.fixture
def threads() -> Iterator[None]:
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


def drawn(*shape: int) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(sum(shape)))


@pytest.mark.parametrize("rows", [1, 2, 5, 6, 32, 33])
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("count", [1, 2])
@pytest.mark.usefixtures("threads")
def test_few_rows_are_what_a_linear_layer_gives(rows: int, bias: bool, count: int) -> None:
    torch.set_num_threads(count)
    x, weight, shift = drawn(1, rows, 24), drawn(40, 24), drawn(40) if bias else None
    with torch.no_grad():
        found = linear(x, weight, shift)
    torch.testing.assert_close(found, nn.functional.linear(x, weight, shift), atol=1e-5, rtol=1e-5)
    assert found.is_contiguous()


def test_a_gradient_flows_where_one_is_recorded() -> None:
    weight = drawn(8, 4).requires_grad_()
    linear(drawn(3, 4), weight).sum().backward()  # type: ignore[no-untyped-call]
    assert weight.grad is not None


def test_layers_are_given_back_as_they_were() -> None:
    model = nn.Sequential(nn.Linear(4, 4), nn.Sequential(nn.Linear(4, 4)), nn.Bilinear(4, 4, 2))
    with few_rows(model):
        assert [name for name, module in model.named_modules() if "forward" in module.__dict__] == ["0", "1.0"]
    assert not any("forward" in module.__dict__ for module in model.modules())


def test_a_layer_whose_forward_is_somebodys_keeps_it() -> None:
    layer = nn.Linear(4, 4)
    layer.__dict__["forward"] = len
    with few_rows(layer):
        assert layer.__dict__["forward"] is len
    assert layer.__dict__["forward"] is len


@pytest.mark.parametrize("outputs", [40, 36, 34, 33])
@pytest.mark.usefixtures("threads")
def test_one_row_has_the_same_bits_on_every_number_of_threads(outputs: int) -> None:
    x, weight, found = drawn(1, 576), drawn(outputs, 576), []
    for count in (1, 2, 3):
        torch.set_num_threads(count)
        with torch.no_grad():
            found.append(linear(x, weight))
    assert torch.equal(found[0], found[1])
    assert torch.equal(found[0], found[2])


@pytest.mark.parametrize(("tokens", "crowded", "used"), [(1, True, 1), (1, False, 2), (2, True, 2)])
@pytest.mark.usefixtures("threads")
def test_one_token_takes_one_thread_where_others_wanted_the_cores(
    tokens: int, crowded: bool, used: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tunesmith.models.few_rows._crowded", lambda threads: crowded)
    torch.set_num_threads(2)
    cores = Cores()
    with cores.lent(1):
        assert torch.get_num_threads() == 2
    with cores.lent(tokens):
        assert torch.get_num_threads() == used
    assert torch.get_num_threads() == 2


def test_a_machine_without_so_many_cores_is_crowded() -> None:
    assert _crowded(10**6)
