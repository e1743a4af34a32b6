"""The cost of an epoch follows from the shapes of a model, not from loading it."""

from pathlib import Path

from transformers import AutoConfig, AutoModelForCausalLM

from tunesmith.models.settings import Full, Lora
from tunesmith.run.estimate import Weights, Work, estimate
from tunesmith.run.resolve import Shapes


def test_the_counts_are_those_of_the_loaded_model(folder: Path) -> None:
    model = AutoModelForCausalLM.from_pretrained(folder)
    weights = Weights.of(folder, AutoConfig.from_pretrained(folder))
    assert weights.parameters == sum(p.numel() for p in model.parameters())
    assert weights.output == weights.embeddings == model.lm_head.weight.numel()


def test_lora_adds_what_its_adapters_hold(folder: Path) -> None:
    linear = [
        module for name, module in AutoModelForCausalLM.from_pretrained(folder).named_modules()
        if module.__class__.__name__ == "Linear" and name != "lm_head"
    ]  # fmt: skip
    weights = Weights.of(folder, AutoConfig.from_pretrained(folder))
    assert weights.lora_per_rank == sum(module.in_features + module.out_features for module in linear)


def test_full_fine_tuning_holds_more_than_lora_and_more_tokens_hold_more(folder: Path) -> None:
    config = AutoConfig.from_pretrained(folder)
    weights, shapes = Weights.of(folder, config), Shapes.of(config)
    small, large = Work(1000, 100, 100), Work(1000, 100, 1000)
    lora = estimate(small, weights, shapes, Lora(rank=2))
    full = estimate(small, weights, shapes, Full())
    assert lora.peak_bytes < full.peak_bytes < estimate(large, weights, shapes, Full()).peak_bytes
    assert full.peak_bytes - lora.peak_bytes > 8 * weights.parameters
