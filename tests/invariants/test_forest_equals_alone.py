"""Loss and gradient of a step are those of one example at a time through the untouched transformers model."""

from typing import Any

import numpy as np
import pytest
import torch
from invariants.families import ALONE, BY_FOREST, build

from tunesmith.data.example import Origin
from tunesmith.models.native import attention as native
from tunesmith.models.probe import probe
from tunesmith.tokens.encoded import EncodedExample
from tunesmith.training.step import Pass, backward, measure

TOLERANCE = 1e-5
LONGEST = 46


def examples() -> list[EncodedExample]:
    """Two trunks with branches, one nested; a short one; a twin. Longer than every window; weights of 0, ½ and 1."""
    rng = np.random.default_rng(5)
    first, second, nested = (rng.integers(3, 128, n) for n in (20, 12, 10))
    tails = [rng.integers(3, 128, n) for n in (16, 9, 5, 12, 7)]
    paths = [
        (first, nested, tails[0]), (first, nested, tails[1]), (first, tails[2]), (second, tails[3]), (second, tails[4]),
        (tails[2],), (second, tails[4]),
    ]  # fmt: skip
    made = []
    for path in paths:
        ids = np.concatenate(path).astype(np.int32)
        weights = rng.choice([0.0, 0.5, 1.0], len(ids)).astype(np.float32)
        weights[0], weights[-1] = 0.0, 1.0
        made.append(EncodedExample(ids, weights, Origin("made", 1)))
    assert max(map(len, made)) == LONGEST
    return made


def one_at_a_time(model: Any, members: list[EncodedExample]) -> tuple[float, dict[str, torch.Tensor]]:
    """Loss and gradients by nothing but the model's own forward and torch's own cross entropy."""
    model.zero_grad()
    total = sum(e.target_weight for e in members)
    loss = 0.0
    for e in members:
        ids = torch.from_numpy(e.ids.astype(np.int64))
        logits = model(input_ids=ids[None], use_cache=False).logits[0, :-1].float()
        each = torch.nn.functional.cross_entropy(logits, ids[1:], reduction="none")
        part = (each * torch.from_numpy(e.weights[1:])).sum() / total
        part.backward()
        loss += float(part.detach())
    grads = {n: p.grad.clone() for n, p in model.named_parameters() if p.grad is not None}
    model.zero_grad()
    return loss, grads


def worst(found: Any, expected: dict[str, torch.Tensor]) -> float:
    """The largest difference of any parameter's gradient, relative to the norm of the whole gradient."""
    norm = torch.sqrt(sum((g.double() ** 2).sum() for g in expected.values()))
    named = dict(found.named_parameters())
    return max(float((named[n].grad - g).double().norm() / norm) for n, g in expected.items())


@pytest.fixture(params=["attention compiled here", "torch's attention"])
def attention(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whether there is a compiler or not."""
    if request.param != "attention compiled here":
        monkeypatch.setattr(native, "_right", lambda: False)


@pytest.mark.usefixtures("attention")
@pytest.mark.parametrize("family", [*BY_FOREST, *ALONE])
@pytest.mark.parametrize("budget", [60, 4096])
def test_a_step_gives_the_loss_and_gradient_of_one_example_at_a_time(family: str, budget: int) -> None:
    model = build({**BY_FOREST, **ALONE}[family]())
    members = examples()
    loss, grads = one_at_a_time(model, members)
    found = probe(model, longest=LONGEST)
    assert found.network.forest == (family in BY_FOREST), found.reason
    measured = backward(found.network, members, Pass(budget, sharing=True), dropout_seed=None)
    assert measured.loss == pytest.approx(loss, rel=TOLERANCE)
    assert worst(model, grads) < TOLERANCE
    if family in BY_FOREST and budget == 4096:
        assert measured.computed_tokens < 0.7 * measured.tokens


@pytest.mark.usefixtures("attention")
@pytest.mark.parametrize("family", ["Mistral with a window", "Qwen2 with a window", "Gemma 2", "Gemma 3", "gpt-oss"])
def test_a_window_that_the_probes_examples_do_not_reach_is_kept(family: str) -> None:
    config = BY_FOREST[family]()
    config.sliding_window = 32
    model = build(config)
    loss, grads = one_at_a_time(model, examples())
    network = probe(model, longest=LONGEST).network
    assert network.forest
    measured = backward(network, examples(), Pass(4096, sharing=True), dropout_seed=None)
    assert measured.loss == pytest.approx(loss, rel=TOLERANCE)
    assert worst(model, grads) < TOLERANCE


def test_sharing_and_micro_batches_change_nothing_beyond_rounding() -> None:
    model = build(BY_FOREST["Llama"]())
    network = probe(model, longest=LONGEST).network
    members = examples()
    losses = [
        measure(network, members, Pass(budget, sharing)).loss for budget in (1, 50, 9999) for sharing in (True, False)
    ]
    assert max(losses) - min(losses) < 1e-6


def test_the_loss_of_each_example_is_its_own() -> None:
    model = build(BY_FOREST["Llama"]())
    network = probe(model, longest=LONGEST).network
    members = examples()
    together = measure(network, members, Pass(9999, sharing=True)).example_loss
    alone = [measure(network, [e], Pass(9999, sharing=True)).loss for e in members]
    assert together == pytest.approx(alone, rel=1e-5)


def test_a_longrope_model_is_run_by_forest_while_no_example_is_long_enough_to_show_it() -> None:
    config = ALONE["Phi-3 with LongRoPE"]()
    config.original_max_position_embeddings = 64
    config.rope_parameters["original_max_position_embeddings"] = 64
    assert probe(build(config), longest=60).network.forest
    assert not probe(build(config), longest=70).network.forest
