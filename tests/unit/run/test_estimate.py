"""The cost of an epoch follows from the shapes of a model, not from loading it."""

from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM

from tunesmith.models.settings import Full, Lora
from tunesmith.run import estimate as room
from tunesmith.run.estimate import Weights, Work, estimate
from tunesmith.run.facts import facts
from tunesmith.run.resolve import Shapes


def test_the_counts_are_those_of_the_loaded_model(folder: Path) -> None:
    model = AutoModelForCausalLM.from_pretrained(folder)
    weights = Weights.of(folder, facts(folder))
    assert weights.parameters == sum(p.numel() for p in model.parameters())
    assert weights.output == weights.embeddings == model.lm_head.weight.numel()


def test_lora_adds_what_its_adapters_hold(folder: Path) -> None:
    linear = [
        module for name, module in AutoModelForCausalLM.from_pretrained(folder).named_modules()
        if module.__class__.__name__ == "Linear" and name != "lm_head"
    ]  # fmt: skip
    weights = Weights.of(folder, facts(folder))
    assert weights.lora_per_rank == sum(module.in_features + module.out_features for module in linear)


def test_full_fine_tuning_holds_more_than_lora_and_more_tokens_hold_more(folder: Path) -> None:
    about = facts(folder)
    weights, shapes = Weights.of(folder, about), about.shapes
    small, large = Work(1000, 100, 1, 10), Work(1000, 100, 1000, 10)
    lora = estimate(small, weights, shapes, Lora(rank=2))
    full = estimate(small, weights, shapes, Full())
    assert lora.peak_bytes < full.peak_bytes < estimate(large, weights, shapes, Full()).peak_bytes
    assert full.peak_bytes - lora.peak_bytes > 8 * weights.parameters


# SmolLM2-135M-Instruct on one core of an EPYC whose products of its shapes ran at 70 GFLOP/s: a step of the recipe
# (tokens computed, rows supervised), the processor's seconds that it took, and the peak of the process in GiB.
MEASURED = [
    (Full(), 666, 210, 9.6, 2.96),  # support
    (Lora(rank=16), 666, 210, 7.7, 1.88),  # support, by LoRA
    (Full(), 1160, 145, 16.4, 3.52),  # banking77
]


@pytest.mark.parametrize(("method", "tokens", "rows", "seconds", "gib"), MEASURED)
def test_the_estimate_is_within_a_quarter_of_what_was_measured(
    method: Full | Lora, tokens: int, rows: int, seconds: float, gib: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(room, "speed", lambda name, measure: 70e9)
    weights, shapes = Weights(134_515_008, 28_311_552, 28_311_552, 305_280), Shapes(30, 576, 1536)
    found = estimate(Work(tokens, rows, round(1.05 * tokens), 1), weights, shapes, method)
    assert found.seconds_per_epoch == pytest.approx(seconds, rel=0.25)
    assert found.peak_bytes / 2**30 == pytest.approx(gib, rel=0.25)


@pytest.mark.parametrize(("threads", "together", "expected"), [(1, 10.0, 10.0), (2, 11.0, 20.0), (16, 90.0, 90.0)])
def test_threads_that_others_hold_up_are_not_taken_for_slow_ones(
    threads: int, together: float, expected: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        monkeypatch.setattr(room, "_measured", lambda *_: 10.0 if torch.get_num_threads() == 1 else together)
        monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
        assert room.product_speed(Shapes(1, 8, 16), 4) == expected
        assert torch.get_num_threads() == threads
    finally:
        torch.set_num_threads(before)
