"""What gives way where memory is short, and that it is said."""

import pytest
import torch
from invariants.families import BY_FOREST, build

from tunesmith.models.methods import apply
from tunesmith.models.settings import Full, Lora
from tunesmith.run.memory import choose, standing_bytes
from tunesmith.run.resolve import Shapes

SHAPES = Shapes(layers=10, hidden=100, intermediate=400)
PER_TOKEN = SHAPES.bytes_per_token(4)


def blocks(memory: int) -> int:
    return choose("auto", SHAPES, tokens=1024, width=4, standing=10**6, memory=memory).blocks


def test_nothing_is_computed_twice_where_all_of_it_fits() -> None:
    enough = int((1024 * PER_TOKEN + 10**6) / 0.9) + 1
    assert blocks(enough) == 0
    assert blocks(enough - 10**5) > 0


def test_less_memory_computes_more_blocks_twice_and_no_more_than_there_are() -> None:
    found = [blocks(memory * 10**6) for memory in (200, 140, 100, 70, 30, 10)]
    assert found == sorted(found)
    assert found[0] == 0
    assert found[-1] == 10
    assert 0 < found[2] < 10


@pytest.mark.parametrize(("asked", "expected"), [("none", 0), ("full", 10), (4, 4), (99, 10)])
def test_what_is_asked_for_is_done_whatever_the_memory(asked: object, expected: int) -> None:
    found = choose(asked, SHAPES, tokens=1024, width=4, standing=0, memory=10**12)  # type: ignore[arg-type]
    assert found.blocks == expected


def test_what_may_not_fit_is_a_warning_that_says_what_to_do() -> None:
    found = choose("auto", SHAPES, tokens=10**6, width=4, standing=0, memory=10**6)
    assert found.reason.startswith("warning: ")
    assert "training.micro_batch_tokens" in found.reason


def test_masters_of_half_precision_and_frozen_weights_are_counted_as_what_they_are() -> None:
    model = build(BY_FOREST["Llama"]())
    count = sum(p.numel() for p in model.parameters())
    assert standing_bytes(model, apply(Full(), model, seed=0)) == pytest.approx(16 * count, rel=1e-3)
    half = build(BY_FOREST["Llama"]()).to(torch.bfloat16)
    assert standing_bytes(half, apply(Full(), half, seed=0)) == pytest.approx(16 * count, rel=1e-3)
    half = build(BY_FOREST["Llama"]()).to(torch.bfloat16)
    adapter = apply(Lora(rank=2), half, seed=0)
    assert standing_bytes(half, adapter) == pytest.approx(2 * count + 16 * adapter.trainable_parameters, rel=1e-3)
