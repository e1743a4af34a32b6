"""A step that starts from stored states of the frozen layers is the step that computes them."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from invariants.families import BY_FOREST, build
from invariants.test_forest_equals_alone import LONGEST, examples, worst

from tunesmith.batches.forest import PrefixForest
from tunesmith.models.lower import Lower, StoredStates, store
from tunesmith.models.methods import Applied, apply
from tunesmith.models.probe import Probe, probe
from tunesmith.models.settings import Frozen

PLENTY = 1 << 30


def frozen(config: Any, *, layers: int = 2) -> tuple[Any, Probe, Applied]:
    model = build(config)
    return model, probe(model, longest=LONGEST), apply(Frozen(layers=layers), model, seed=0)


def gradients(model: Any, rows: Callable[[], torch.Tensor]) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
    """The hidden rows and what their sum of squares asks of the parameters."""
    model.zero_grad()
    hidden = rows()
    hidden.square().sum().backward()
    grads = {n: p.grad.clone() for n, p in model.named_parameters() if p.grad is not None}
    model.zero_grad()
    return hidden.detach(), grads


@pytest.mark.parametrize("family", BY_FOREST)
def test_stored_states_give_the_hidden_rows_and_gradients_of_the_whole_network(family: str) -> None:
    model, found, applied = frozen(BY_FOREST[family]())
    members = examples()
    stored = store(
        Lower(found.network, applied.lowest_trained_layer), members, budget=60, sharing=True, most_bytes=PLENTY
    )
    assert isinstance(stored, StoredStates), stored
    chosen = [5, 1, 3]
    batch = PrefixForest([members[i] for i in chosen]).batch()
    whole, expected = gradients(model, lambda: found.network.hidden_rows(batch))
    cut, _ = gradients(model, lambda: stored.hidden_rows(batch, chosen))
    assert float((cut - whole).abs().max() / whole.abs().max()) < 1e-5
    stored.hidden_rows(batch, chosen).square().sum().backward()
    assert expected
    assert worst(model, expected) < 1e-5


def test_a_beginning_that_examples_share_is_stored_once() -> None:
    _, found, applied = frozen(BY_FOREST["Llama"]())
    members = examples()
    stored = store(
        Lower(found.network, applied.lowest_trained_layer), members, budget=4096, sharing=True, most_bytes=PLENTY
    )
    assert isinstance(stored, StoredStates), stored
    assert len(stored.states) < 0.7 * sum(map(len, members))
    assert np.array_equal(stored.row[stored.starts[0] :][:20], stored.row[stored.starts[1] :][:20])


def test_the_lower_layers_do_not_run_when_their_states_are_stored() -> None:
    model, found, applied = frozen(BY_FOREST["Llama"]())
    members = examples()
    stored = store(
        Lower(found.network, applied.lowest_trained_layer), members, budget=60, sharing=True, most_bytes=PLENTY
    )
    assert isinstance(stored, StoredStates), stored
    with torch.no_grad():
        for parameter in model.model.layers[:2].parameters():
            parameter.fill_(float("nan"))
    batch = PrefixForest(members[:2]).batch()
    assert bool(stored.hidden_rows(batch, [0, 1]).isfinite().all())


def test_layers_that_run_otherwise_do_so_again_afterwards() -> None:
    model, found, applied = frozen(BY_FOREST["Llama"]())
    layers = model.model.layers
    ours = {layer: lambda *args, _plain=layer.forward, **given: _plain(*args, **given) for layer in layers}
    for layer, forward in ours.items():
        layer.__dict__["forward"] = forward
    lower, batch = Lower(found.network, applied.lowest_trained_layer), PrefixForest(examples()).batch()
    lower.hidden_rows(batch, lower.states(batch))
    assert all(layer.__dict__.get("forward") is forward for layer, forward in ours.items())


def test_too_little_memory_is_a_reason_and_no_error() -> None:
    _, found, applied = frozen(BY_FOREST["Llama"]())
    reason = store(
        Lower(found.network, applied.lowest_trained_layer), examples(), budget=60, sharing=True, most_bytes=100
    )
    assert isinstance(reason, str)
    assert "memory" in reason


def test_layers_that_draw_at_random_are_not_stored() -> None:
    config = BY_FOREST["GPT-2"]()
    config.resid_pdrop = 0.5
    model, found, applied = frozen(config)
    model.train()
    lower = Lower(found.network, applied.lowest_trained_layer)
    assert isinstance(store(lower, examples(), budget=60, sharing=True, most_bytes=PLENTY), str)
