"""The same invariants on a GPU: `pytest -m gpu`, where there is one. A CPU tests each by the ways that it has."""

import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from invariants.families import BY_FOREST, build
from invariants.test_forest_equals_alone import LONGEST, examples, worst
from invariants.test_resume import STEPS, arguments, contents, killed_at, quiet
from tiny_model import chat_file, tiny_model
from unit.models.test_flex import long_examples

from tunesmith.models.compiled import compile_blocks
from tunesmith.models.methods import apply
from tunesmith.models.probe import probe
from tunesmith.models.recompute import recompute
from tunesmith.models.settings import Full, Lora, Method
from tunesmith.recipe import load_recipe
from tunesmith.run.selftest import selftest
from tunesmith.run.train import resume, train
from tunesmith.tokens.encoded import EncodedExample
from tunesmith.training.step import Pass, backward

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU here"),
    # An error inside a compiler would be taken for a block that cannot be compiled; and TF32 is left out on purpose.
    pytest.mark.filterwarnings("default"),
]
HOW = Pass(4096, sharing=True)
KERNELS = 1e-4
"""Largest relative difference of a gradient in float32 between kernels of a GPU."""
RESUMED = 1e-3
"""Largest relative difference of a step's loss in float32 between a resumed run and one never interrupted."""


def one_at_a_time(model: Any, members: list[EncodedExample]) -> tuple[float, dict[str, torch.Tensor]]:
    """Loss and gradients by the model's own forward and torch's own cross entropy, on its device."""
    total, loss = sum(e.target_weight for e in members), 0.0
    for e in members:
        ids, weights = torch.from_numpy(e.ids).long().cuda(), torch.from_numpy(e.weights).cuda()
        logits = model(input_ids=ids[None], use_cache=False).logits[0, :-1].float()
        part = (torch.nn.functional.cross_entropy(logits, ids[1:], reduction="none") * weights[1:]).sum() / total
        part.backward()
        loss += float(part.detach())
    grads = {n: p.grad.clone() for n, p in model.named_parameters() if p.grad is not None}
    model.zero_grad()
    return loss, grads


MEMBERS = {"one block": examples, "several blocks": long_examples}


@pytest.mark.parametrize("family", BY_FOREST)
@pytest.mark.parametrize("members", MEMBERS)
def test_a_step_gives_the_loss_and_gradient_of_one_example_at_a_time(members: str, family: str) -> None:
    config = BY_FOREST[family]()
    config.max_position_embeddings = 1024
    model = build(config).cuda()
    made = MEMBERS[members]()
    loss, grads = one_at_a_time(model, made)
    found = probe(model, longest=max(map(len, made)))
    assert found.network.forest, found.reason
    assert found.network.way != "segments", found.reason
    assert backward(found.network, made, HOW, dropout_seed=None).loss == pytest.approx(loss, rel=KERNELS)
    assert worst(model, grads) < KERNELS


def test_bfloat16_goes_through_the_flash_kernel_and_gives_the_loss_of_float32_to_its_rounding() -> None:
    model = build(BY_FOREST["Qwen3"]()).cuda()
    loss, _ = one_at_a_time(model, examples())
    found = probe(model.to(torch.bfloat16), longest=LONGEST)
    assert found.network.way == "runs", found.reason
    for sharing in (True, False):
        measured = backward(found.network, examples(), Pass(4096, sharing=sharing), dropout_seed=None)
        assert measured.loss == pytest.approx(loss, rel=2e-2)


@pytest.mark.parametrize("method", [Full(), Lora(rank=2)], ids=["full", "lora"])
def test_the_device_is_waited_for_as_often_for_many_micro_batches_as_for_one(method: Method) -> None:
    model = build(BY_FOREST["Qwen3"]()).cuda()
    network = probe(model, longest=LONGEST).network
    apply(method, model, seed=0)
    counts = []
    for budget in (4096, 20):
        backward(network, examples(), Pass(budget, sharing=True), dropout_seed=None)  # compiles
        torch.cuda.set_sync_debug_mode("warn")
        try:
            with warnings.catch_warnings(record=True) as told:
                warnings.simplefilter("always")
                backward(network, examples(), Pass(budget, sharing=True), dropout_seed=None)
        finally:
            torch.cuda.set_sync_debug_mode("default")
        counts.append(sum("synchroniz" in str(warning.message) for warning in told))
    assert counts[0] == counts[1] > 0


@pytest.mark.parametrize("method", [Full(), Lora(rank=2)], ids=["full", "lora"])
def test_compiled_and_recomputed_blocks_give_the_gradient_of_plain_ones(method: Method) -> None:
    grads = []
    for changed in (False, True):
        model = build(BY_FOREST["Qwen3"]()).cuda()
        network = probe(model, longest=LONGEST).network
        apply(method, model, seed=0)
        if changed:
            done, reason = compile_blocks(network)
            assert done, reason
            assert recompute(model, 2) == 2
        backward(network, examples(), HOW, dropout_seed=None)
        grads.append({n: p.grad.clone() for n, p in model.named_parameters() if p.grad is not None})
    assert worst(model, grads[0]) < KERNELS


def test_a_step_beside_four_bits_has_a_finite_gradient_for_every_adapter() -> None:
    pytest.importorskip("bitsandbytes")
    model = build(BY_FOREST["Qwen3"]()).cuda().to(torch.bfloat16)
    network = probe(model, longest=LONGEST).network
    applied = apply(Lora(rank=2, quantize="nf4"), model, seed=0)
    backward(network, examples(), HOW, dropout_seed=None)
    assert all(p.grad is not None and bool(p.grad.isfinite().all()) for _, p in applied.trainable)


@pytest.fixture
def runs(tmp_path: Path) -> Iterator[tuple[Path, tuple[Path, Path], Path]]:
    """A model, its data, and a folder for runs; what a run settles for its process is undone."""
    held_out = chat_file(tmp_path / "validation.jsonl", count=6, start=100)
    yield tiny_model(tmp_path / "model"), (chat_file(tmp_path / "train.jsonl"), held_out), tmp_path
    torch.use_deterministic_algorithms(False)


def whole_and_resumed(
    runs: tuple[Path, tuple[Path, Path], Path], monkeypatch: pytest.MonkeyPatch, *settings: str
) -> tuple[dict[str, Any], dict[str, Any]]:
    """What a run gives that nobody disturbed, and what it gives killed after its fifth update and resumed."""
    model, data, place = runs
    train(load_recipe(None, arguments(model, data, place / "whole", *settings)), say=quiet)
    recipe = load_recipe(None, arguments(model, data, place / "broken", *settings))
    killed_at(5, monkeypatch, lambda: train(recipe, say=quiet))
    resume(place / "broken", say=quiet)
    return contents(place / "whole"), contents(place / "broken")


METHODS = {"full": ["method.kind=full"], "lora with dropout": ["method.rank=4", "method.dropout=0.2"]}


@pytest.mark.parametrize("method", METHODS)
def test_a_resumed_run_gives_the_same_bits_in_deterministic_mode(
    method: str, runs: tuple[Path, tuple[Path, Path], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, resumed = whole_and_resumed(runs, monkeypatch, *METHODS[method], "training.deterministic=true")
    assert resumed == whole


@pytest.mark.parametrize("method", METHODS)
def test_a_resumed_run_gives_the_same_losses_to_the_stated_tolerance_without_it(
    method: str, runs: tuple[Path, tuple[Path, Path], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    float32 = "training.dtype=float32"
    whole, resumed = whole_and_resumed(runs, monkeypatch, *METHODS[method], float32)
    assert len(resumed["journal"]) == STEPS
    losses = [[entry["loss"] for entry in one["journal"]] for one in (whole, resumed)]
    assert losses[1] == pytest.approx(losses[0], rel=RESUMED)


def test_the_self_test_holds(tmp_path: Path) -> None:
    proofs = selftest(str(tiny_model(tmp_path / "model")), say=quiet)
    assert all(proof.holds for proof in proofs), proofs
