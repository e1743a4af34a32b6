"""Attention over a forest by FlexAttention, in its eager form on a CPU, against one example at a time."""

from itertools import pairwise
from threading import Thread
from typing import Any

import numpy as np
import pytest
import torch
from invariants.families import BY_FOREST, build
from invariants.test_forest_equals_alone import LONGEST, TOLERANCE, examples, one_at_a_time, worst
from torch import Tensor
from torch._dynamo.testing import CompileCounterWithBackend
from torch.nn.attention import flex_attention as torchs

from tunesmith.batches.forest import PrefixForest
from tunesmith.data.example import Origin
from tunesmith.models import flex
from tunesmith.models.attention import attend
from tunesmith.models.lower import Lower
from tunesmith.models.probe import probe
from tunesmith.tokens.encoded import EncodedExample
from tunesmith.training.step import Pass, backward, measure

KINDS = ("Qwen3", "Mistral with a window", "Gemma 2", "gpt-oss")
"""Shared heads; a window; a window, a soft cap and a scaling; a window and sinks."""


@pytest.fixture(autouse=True)
def eager(monkeypatch: pytest.MonkeyPatch) -> None:
    """FlexAttention without a compiler, and with the gradient that its plain form has on a CPU but does not offer."""
    monkeypatch.setattr(torchs, "_FLEX_ATTENTION_DISABLE_COMPILE_DEBUG", True)
    monkeypatch.setattr(torchs, "_validate_device", lambda *_: None)


def varlen(q: Tensor, k: Tensor, v: Tensor, starts: Tensor, _: Tensor, most: int, __: int, **given: Any) -> Tensor:
    """What torch's variable-length flash attention computes, by plain operations, in float32."""
    assert given["window_size"] == (-1, 0)
    ends = starts.tolist()
    assert ends[-1] == len(q)
    assert most == max(b - a for a, b in pairwise(ends))
    outs = []
    for a, b in pairwise(ends):
        heads = (z[a:b].transpose(0, 1).float() for z in (q, k, v))
        allowed = torch.ones(b - a, b - a, dtype=torch.bool).tril()
        outs.append(attend(*heads, allowed, scaling=given["scale"], softcap=None, sinks=None).transpose(0, 1))
    return torch.cat(outs).to(q.dtype)


def long_examples() -> list[EncodedExample]:
    """A trunk of 300 tokens with branches, one of them branching again; and two for themselves: several blocks."""
    rng = np.random.default_rng(0)
    trunk, nested = rng.integers(0, 99, 300), rng.integers(0, 99, 150)
    paths = [(trunk, 100), (trunk, 200), (trunk, 33), (np.r_[trunk, nested], 40), (np.r_[trunk, nested], 90)]
    made = [np.r_[above, rng.integers(0, 99, n)] for above, n in paths] + [rng.integers(0, 99, n) for n in (400, 20)]
    weights = [np.concatenate([[0], np.ones(len(ids) - 1)]).astype(np.float32) for ids in made]
    return [EncodedExample(i.astype(np.int32), w, Origin("made", 1)) for i, w in zip(made, weights, strict=True)]


@pytest.mark.parametrize("window", [None, 7, 130, 260])
def test_the_blocks_lose_no_pair_that_sees_and_let_in_none_that_does_not(window: int | None) -> None:
    padded = flex.Padded.of(PrefixForest(long_examples()).batch())
    end, position, place = padded.subtree_end, padded.position, np.arange(len(padded.ids))
    sees = (place[None] <= place[:, None]) & (place[:, None] < end[None])
    if window is not None:
        sees &= position[:, None] - position[None] < window
    blocks = sees.reshape(len(place) // flex.BLOCK, flex.BLOCK, -1, flex.BLOCK)
    some, full = flex.block_kinds(end, position, window)
    assert not (blocks.any((1, 3)) & ~some).any()
    assert not (full & ~blocks.all((1, 3))).any()
    assert some.sum() < 0.4 * some.size
    if window is None:
        assert (some == blocks.any((1, 3))).all()
        assert (full == blocks.all((1, 3))).all()


@pytest.mark.parametrize("family", KINDS)
def test_flex_attention_gives_the_loss_and_gradient_of_one_example_at_a_time(family: str) -> None:
    model = build(BY_FOREST[family]())
    members = examples()
    loss, grads = one_at_a_time(model, members)
    found = probe(model, longest=LONGEST, ways=("flex",))
    assert found.network.forest, found.reason
    assert found.network.way == "flex"
    measured = backward(found.network, members, Pass(4096, sharing=True), dropout_seed=None)
    assert measured.loss == pytest.approx(loss, rel=TOLERANCE)
    assert worst(model, grads) < TOLERANCE


def test_a_forest_of_several_blocks_has_the_loss_of_one_example_at_a_time() -> None:
    config = BY_FOREST["Mistral with a window"]()
    config.sliding_window = 150
    model = build(config)
    members = long_examples()
    alone = one_at_a_time(model, members)[0]
    network = probe(model, longest=540, ways=("flex",)).network
    assert measure(network, members, Pass(4096, sharing=True)).loss == pytest.approx(alone, rel=TOLERANCE)


def test_stored_states_enter_a_padded_network_as_they_left_it() -> None:
    model = build(BY_FOREST["Llama"]())
    network = probe(model, longest=LONGEST, ways=("flex",)).network
    lower, batch = Lower(network, 2), PrefixForest(examples()).batch()
    with torch.no_grad():
        assert len(lower.states(batch)) == len(batch.ids)
        assert torch.equal(lower.hidden_rows(batch, lower.states(batch)), network.hidden_rows(batch))


@pytest.mark.parametrize("sharing", [True, False])
def test_sequences_that_share_nothing_go_through_the_flash_kernel(
    sharing: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = []
    monkeypatch.setattr(flex, "varlen_attn", lambda *a, **given: calls.append(1) or varlen(*a, **given))
    model = build(BY_FOREST["Qwen3"]()).to(torch.bfloat16)
    found = probe(model, longest=LONGEST, ways=("runs", "flex"))
    assert found.network.way == "runs", found.reason
    calls.clear()
    expected = measure(probe(model, longest=LONGEST).network, examples(), Pass(4096, sharing=sharing)).loss
    assert not calls
    measured = measure(found.network, examples(), Pass(4096, sharing=sharing))
    assert bool(calls) == (not sharing)
    assert measured.loss == pytest.approx(expected, rel=1e-2)


def test_a_flash_kernel_that_computes_something_else_is_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(flex, "varlen_attn", lambda q, *_, **__: torch.zeros_like(q))
    model = build(BY_FOREST["Qwen3"]()).to(torch.bfloat16)
    found = probe(model, longest=LONGEST, ways=("runs", "flex"))
    assert found.network.forest
    assert found.network.way == "flex"


def compiled(shapes: list[tuple[int, int]], monkeypatch: pytest.MonkeyPatch) -> int:
    """How often attention is compiled for these numbers of heads and blocks, in a thread of its own."""
    counter = CompileCounterWithBackend("eager")
    plain = torch.compile(flex.flex_attention, backend=counter)
    monkeypatch.setattr(flex, "_compiled", lambda: plain)
    monkeypatch.setattr(torchs, "_FLEX_ATTENTION_DISABLE_COMPILE_DEBUG", False)

    def attend() -> None:
        for heads, blocks in shapes:
            q, weights = torch.ones(1, heads, flex.BLOCK * blocks, 16), np.ones(flex.BLOCK * blocks, np.float32)
            one = EncodedExample(np.zeros(len(weights), np.int32), weights, Origin("made", 1))
            mask = flex.ForestMask.of(PrefixForest([one]).batch(), "cpu")
            flex.compiled_attention(q, q, q, block_mask=mask.blocks(None))

    torch._dynamo.reset()
    thread = Thread(target=attend)
    thread.start()
    thread.join()
    torch._dynamo.reset()
    return counter.frame_count


def test_attention_is_compiled_for_one_length_and_then_for_all(monkeypatch: pytest.MonkeyPatch) -> None:
    assert compiled([(2, blocks) for blocks in range(1, 9)], monkeypatch) == 2


def test_every_form_that_occurs_is_compiled_in_any_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    assert compiled([(heads, 1) for heads in range(1, 11)], monkeypatch) == 10  # torch keeps 8 unasked


def test_the_kernels_find_the_blocks_one_after_the_other_in_memory() -> None:
    mask = flex.ForestMask.of(PrefixForest(long_examples()).batch(), "cpu").blocks(None)
    assert mask.kv_num_blocks.shape[-1] > 1
    tensors = [value for value in mask.as_tuple() if isinstance(value, Tensor)]
    assert all(value.is_contiguous() for value in tensors)
