"""Attention by compiled code, beside plain operations in float64."""

from collections.abc import Iterator

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from tunesmith.models.native import attention as native
from tunesmith.models.native import build

Forest = tuple[Tensor, Tensor]

pytestmark = pytest.mark.skipif(not build.compiler() or not build.threads(), reason="no C compiler here")


@pytest.fixture(params=[1, 2, 3])
def threads(request: pytest.FixtureRequest) -> Iterator[int]:
    """So many threads for one test."""
    before = torch.get_num_threads()
    torch.set_num_threads(request.param)
    yield request.param
    torch.set_num_threads(before)


def drawn(tokens: int, heads: int, groups: int, size: int) -> tuple[Tensor, ...]:
    """q, k, v and a pull on the output."""
    generator = torch.Generator().manual_seed(tokens)
    shapes = [(tokens, n, size) for n in (heads, groups, groups, heads)]
    return tuple(torch.randn(shape, generator=generator) for shape in shapes)


def forest_of(*trees: tuple[int, ...]) -> Forest:
    """Trees, each a trunk and its branches by their lengths, as subtree_end and position."""
    end, position = [], []
    for trunk, *branches in trees:
        first = len(end)
        end += [first + trunk + sum(branches)] * trunk
        position += range(trunk)
        for length in branches:
            end += [len(end) + length] * length
            position += range(trunk, trunk + length)
    return torch.tensor(end), torch.tensor(position)


def ours(of: tuple[Tensor, ...], forest: Forest, window: int = 0) -> tuple[Tensor, ...]:
    """Output and gradients."""
    *three, pull = of
    q, k, v = three
    scaling = q.shape[2] ** -0.5
    made = native.forward((q, k, v), forest, scaling, window)
    return made[0], *native.backward(pull, (q, k, v), made, forest, scaling, window)


def agrees(of: tuple[Tensor, ...], forest: Forest, window: int = 0, *, rounding: float = 2e-6) -> None:
    """Assert that they are equal within the rounding of float32."""
    q, k, v, pull = (z.double() for z in of)
    expected = native._plain(pull, (q, k, v), forest, q.shape[2] ** -0.5, window or 1_000_000)
    for a, b in zip(ours(of, forest, window), expected, strict=True):
        # Where a token sees only itself its gradient is a difference of two equal numbers, about 4 in size.
        assert (a - b).abs().max() <= rounding * b.abs().max().clamp_min(4)


@pytest.mark.parametrize("tokens", [1, 2, 15, 16, 17, 48, 49, 143, 144, 145, 300])
def test_a_sequence_of_any_length_is_causal(tokens: int) -> None:
    agrees(drawn(tokens, 3, 1, 16), forest_of((tokens,)))


@pytest.mark.parametrize("shape", [(1, 1, 8), (4, 4, 16), (6, 2, 24), (9, 3, 64), (5, 1, 80), (60, 1, 16), (4, 1, 256)])
def test_heads_of_any_number_and_size(shape: tuple[int, int, int]) -> None:
    agrees(drawn(100, *shape), forest_of((40, 30, 30)))


def test_work_is_divided_among_any_number_of_threads(threads: int) -> None:
    assert torch.get_num_threads() == threads
    agrees(drawn(400, 6, 3, 16), forest_of((150, 20, 30, 100), (90,), (10,)))


@pytest.mark.parametrize("window", [1, 7, 16, 40, 120, 1000])
def test_a_window_goes_by_position(window: int) -> None:
    agrees(drawn(160, 2, 1, 16), forest_of((50, 30, 40), (40,)), window)


@st.composite
def forests(draw: st.DrawFn) -> Forest:
    """Any forest of few tokens, nested in any way."""
    end: list[int] = []
    position: list[int] = []

    def grow(depth: int, levels: int) -> None:
        length, first = draw(st.integers(1, 20)), len(end)
        position.extend(range(depth, depth + length))
        end.extend([0] * length)
        for _ in range(draw(st.integers(0, 3)) if levels else 0):
            grow(depth + length, levels - 1)
        end[first : first + length] = [len(end)] * length

    for _ in range(draw(st.integers(1, 3))):
        grow(0, 3)
    return torch.tensor(end), torch.tensor(position)


@settings(max_examples=60, deadline=None)
@given(forests(), st.integers(0, 30))
def test_any_forest_with_any_window(forest: Forest, window: int) -> None:
    agrees(drawn(len(forest[0]), 4, 2, 16), forest, window)


def test_the_same_bits_every_time(threads: int) -> None:
    of, forest = drawn(500, 6, 3, 32), forest_of((200, 20, 30, 100), (90,), (60,))
    first = ours(of, forest)
    for _ in range(5):
        assert all(map(torch.equal, first, ours(of, forest)))


def test_large_scores_neither_overflow_nor_vanish() -> None:
    q, k, v, pull = drawn(100, 2, 1, 16)
    agrees((q * 30, k, v, pull), forest_of((100,)), rounding=1e-5)


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
@pytest.mark.parametrize("which", [0, 1, 2])
def test_a_number_that_is_none_is_not_lost(which: int, bad: float) -> None:
    of = drawn(60, 2, 1, 16)
    of[which][20, 0, 3] = bad
    assert not ours(of, forest_of((60,)))[0][20].isfinite().all()


def test_what_lies_otherwise_in_memory_is_read_rightly() -> None:
    of, forest = drawn(50, 4, 2, 16), forest_of((50,))
    turned = tuple(z.transpose(0, 1).contiguous().transpose(0, 1) for z in of)
    assert all(map(torch.equal, ours(of, forest), ours(turned, forest)))


@pytest.mark.parametrize("shape", [(1, 1, 1, 8), (33, 6, 2, 24), (100, 60, 1, 16), (257, 9, 3, 64)])
@pytest.mark.parametrize("count", [1, 2, 3])
def test_nothing_is_written_beyond_scratch(shape: tuple[int, ...], count: int) -> None:
    tokens, heads, *_ = shape
    forest, library = forest_of((tokens,)), native._library()
    q, k, v, pull = drawn(*shape)
    out, lse, dq, dk, dv = torch.empty_like(q), q.new_empty(tokens, heads), *(torch.empty_like(z) for z in (q, k, v))
    for parts in (0, 1, 4):
        room = library.forest_scratch(*shape, count, parts)
        scratch = torch.full((room + 1000,), 7.0)
        if parts:
            of = (*forest, q, k, v, out, lse, pull, dq, dk, dv)
            library.forest_backward(*shape, 0.3, 0, *map(Tensor.data_ptr, of), count, parts, scratch.data_ptr())
        else:
            of = (*forest, q, k, v, out, lse)
            library.forest_forward(*shape, 0.3, 0, *map(Tensor.data_ptr, of), count, scratch.data_ptr())
        assert (scratch[room:] == 7).all()


def test_where_there_is_a_compiler_there_is_code() -> None:
    assert native.suits(torch.zeros(1))
    assert native.made_by() == build.compiler()


@pytest.mark.parametrize("other", [torch.float64, torch.bfloat16])
def test_other_numbers_do_not_suit(other: torch.dtype) -> None:
    assert not native.suits(torch.zeros(1, dtype=other))


@pytest.fixture
def forgotten() -> Iterator[None]:
    """Whatever was compiled is compiled anew, in this test and after it."""
    caches = (native._library, native._right, build.compiler)
    for cache in caches:
        cache.cache_clear()
    yield
    for cache in caches:
        cache.cache_clear()


@pytest.mark.usefixtures("forgotten")
def test_code_that_a_compiler_made_wrong_is_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(build, "_FLAGS", (*build._FLAGS, "-Dlog2f=exp2f"))
    assert native._library() is not None
    assert not native.suits(torch.zeros(1))
    assert native.made_by() == "torch"


@pytest.mark.usefixtures("forgotten")
@pytest.mark.parametrize("compiler", ["", "false", "no-compiler-of-this-name", "cat"])
def test_without_a_compiler_there_is_no_code(compiler: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CC", compiler)
    assert not native.suits(torch.zeros(1))
    assert native.made_by() == "torch"
