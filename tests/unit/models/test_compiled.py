"""Compiled blocks compute what plain ones do, and blocks that cannot be compiled stay plain."""

from typing import Any

import pytest
import torch
from invariants.families import BY_FOREST, build
from invariants.test_forest_equals_alone import LONGEST, examples
from torch._dynamo.testing import CompileCounterWithBackend
from torch.nn.attention import flex_attention as torchs

from tunesmith.generation.decode import generate
from tunesmith.generation.settings import GenerationSettings
from tunesmith.models.compiled import _tried, compile_blocks
from tunesmith.models.methods import apply
from tunesmith.models.probe import probe
from tunesmith.models.settings import Full, Lora, Method
from tunesmith.models.untouched import untouched
from tunesmith.training.step import Pass, backward

pytestmark = [
    pytest.mark.whole,
    pytest.mark.filterwarnings(
        "ignore:The .grad attribute of a Tensor that is not a leaf"
    ),  # torch's own, as it traces
    pytest.mark.filterwarnings("ignore:.*should not be instantiated:DeprecationWarning"),
]


def ready(method: Method, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A network as a GPU would run it, but for the compiler of attention."""
    monkeypatch.setattr(torchs, "_FLEX_ATTENTION_DISABLE_COMPILE_DEBUG", True)
    monkeypatch.setattr(torchs, "_validate_device", lambda *_: None)
    model = build(BY_FOREST["Qwen3"]())
    network = probe(model, longest=LONGEST, ways=("flex",)).network
    apply(method, model, seed=0)
    return network


def test_equal_blocks_are_compiled_once_and_a_batch_of_another_length_compiles_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    network, plain = (ready(Lora(rank=2), monkeypatch) for _ in range(2))
    counter = CompileCounterWithBackend("aot_eager")
    done, reason = compile_blocks(network, backend=counter)
    assert done, reason
    compiled = counter.frame_count
    for members, sharing in ((examples(), True), (examples()[:5] * 4, False), (examples() * 5, False)):
        losses = [
            backward(one, members, Pass(4096, sharing=sharing), dropout_seed=None).loss for one in (network, plain)
        ]
        assert losses[0] == pytest.approx(losses[1], rel=1e-6)
    assert counter.frame_count == compiled
    pairs = zip(network.model.parameters(), plain.model.parameters(), strict=True)
    assert all(torch.allclose(a.grad, b.grad, atol=1e-6) for a, b in pairs if b.grad is not None)


@pytest.mark.parametrize("method", [Lora(rank=2), Lora(rank=2, dropout=0.2)], ids=["lora", "lora with dropout"])
def test_answers_and_the_untouched_model_compile_nothing(method: Method, monkeypatch: pytest.MonkeyPatch) -> None:
    network = ready(method, monkeypatch)
    counter = CompileCounterWithBackend("eager")
    done, reason = compile_blocks(network, backend=counter)
    assert done, reason
    compiled = counter.frame_count
    generate(network.model, [[5, 6, 7], [8] * 5], settings=GenerationSettings(max_new_tokens=3), stop_ids=frozenset())
    with torch.no_grad(), untouched(network.model):
        network.model(input_ids=torch.arange(9)[None], use_cache=False)
    assert counter.frame_count == compiled > 0


def test_the_gradient_of_the_trial_is_more_than_rounding(monkeypatch: pytest.MonkeyPatch) -> None:
    network, finer = (ready(Lora(rank=2), monkeypatch) for _ in range(2))
    finer.model.double()
    assert torch.allclose(_tried(network)[1], _tried(finer)[1].float(), rtol=1e-4)


def test_blocks_that_cannot_be_compiled_stay_as_they_were(monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*_: Any) -> Any:
        raise RuntimeError("no compiler here")

    network = ready(Full(), monkeypatch)
    done, reason = compile_blocks(network, backend=fails)
    assert not done
    assert "no compiler here" in reason
    assert not any("forward" in layer.__dict__ for layer in network.model.model.layers)
