"""Inside the block a model is what its family wrote; outside it is what it was."""

import torch
from invariants.families import BY_FOREST, build

from tunesmith.models.probe import probe
from tunesmith.models.untouched import untouched

IDS = torch.arange(7)[None]


def test_a_model_that_trains_as_a_forest_is_its_family_s_inside_and_the_same_again_outside() -> None:
    model = build(BY_FOREST["Llama"]())
    model.set_attn_implementation("eager")
    expected = model(input_ids=IDS).logits
    probe(model, longest=20)
    fused = {module: module.__dict__["forward"] for module in model.modules() if "forward" in module.__dict__}
    ours = model.config._attn_implementation
    with untouched(model):
        assert torch.equal(model(input_ids=IDS).logits, expected)
        assert not any("forward" in module.__dict__ for module in model.modules())
    assert fused == {module: module.__dict__["forward"] for module in model.modules() if "forward" in module.__dict__}
    assert model.config._attn_implementation == ours


def test_double_precision_is_that_of_the_whole_model_and_the_weights_come_back_to_the_bit() -> None:
    model = build(BY_FOREST["Qwen3"]())
    before = {name: value.clone() for name, value in model.state_dict().items()}
    truth = build(BY_FOREST["Qwen3"]()).double()
    truth.set_attn_implementation("eager")
    expected = truth(input_ids=IDS).logits
    with untouched(model, double=True):
        found = model(input_ids=IDS).logits
        found.sum().backward()
        assert all(p.grad is None or p.grad.dtype == torch.float64 for p in model.parameters())
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-12)
    assert all(p.grad is None for p in model.parameters())
    for name, value in model.state_dict().items():
        assert value.dtype == torch.float32
        assert torch.equal(value, before[name])
