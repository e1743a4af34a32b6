from typing import Any

import pytest
import torch
import transformers

from tunesmith.models.attention import NAME as FOREST
from tunesmith.models.decoding import Trunk
from tunesmith.models.forward import use_attention
from tunesmith.models.head import Head
from tunesmith.models.reader import Opening, Reader, own_attention

A, B, C = [5, 6, 7], [8], [9, 10, 11, 12]


@pytest.fixture(scope="module")
def llama() -> Any:
    """A random Llama of two layers."""
    config = transformers.LlamaConfig(
        vocab_size=64, hidden_size=32, intermediate_size=48, num_hidden_layers=2, num_attention_heads=4,
        num_key_value_heads=2, max_position_embeddings=64, initializer_range=0.3,
    )  # fmt: skip
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return transformers.LlamaForCausalLM(config).eval()  # type: ignore[no-untyped-call]


def reader_of(model: Any) -> Reader:
    head = Head.of(model)
    assert head is not None
    return Reader(model, head)


def alone(model: Any, ids: list[int]) -> torch.Tensor:
    with torch.no_grad():
        logits: torch.Tensor = model(input_ids=torch.tensor([ids])).logits[0, -1]
    return logits


def test_sequences_read_on_together_as_each_alone(llama: Any) -> None:
    reader = reader_of(llama)
    trunk = Trunk([20, 21, 22, 23])
    with reader.attached():
        reader.reserve(3, 8)
        reader.read((), [Opening(A, trunk), Opening(B)])
        reader.read([[1], [2]], [Opening(C, trunk)])
        many = reader.read([[3, 4], [3], [3, 4, 5]])
    expected = [[*trunk.ids, *A, 1, 3, 4], [*B, 2, 3], [*trunk.ids, *C, 3, 4, 5]]
    for row, ids in zip(many, expected, strict=True):
        torch.testing.assert_close(row, alone(llama, ids), atol=1e-5, rtol=1e-5)


def test_the_last_sequence_takes_the_place_of_one_that_ended(llama: Any) -> None:
    reader = reader_of(llama)
    with reader.attached():
        reader.reserve(3, 8)
        reader.read((), [Opening(A), Opening(B), Opening(C)])
        reader.drop(0)
        found = reader.read([[1], [2]])
    torch.testing.assert_close(found[0], alone(llama, [*C, 1]), atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(found[1], alone(llama, [*B, 2]), atol=1e-5, rtol=1e-5)


def test_what_a_sequence_has_read_begins_others_copied_or_shared(llama: Any) -> None:
    reader = reader_of(llama)
    trunk = Trunk([20, 21, 22, 23])
    with reader.attached():
        reader.reserve(4, 16)
        reader.read((), [Opening(A, trunk)])
        read = reader.read_in(0, [*trunk.ids, *A, 63])
        assert list(read.ids) == [*trunk.ids, *A]
        half = read.beginning(6)
        reader.read([[1]], [Opening(B, read, copied=True), Opening(C, half, copied=True), Opening(B, read)])
        many = reader.read([[2], [3], [4], [5]])
    expected = [[*read.ids, 1, 2], [*read.ids, *B, 3], [*read.ids[:6], *C, 4], [*read.ids, *B, 5]]
    assert [slot.offset for slot in reader.slots] == [4, 0, 0, 7]
    for row, ids in zip(many, expected, strict=True):
        torch.testing.assert_close(row, alone(llama, ids), atol=1e-5, rtol=1e-5)


def test_more_room_keeps_what_is_stored(llama: Any) -> None:
    reader = reader_of(llama)
    with reader.attached():
        reader.reserve(1, 3)
        reader.read((), [Opening(A)])
        reader.reserve(2, 9)
        found = reader.read([[1]], [Opening(B)])
    assert reader.room == (2, 9)
    torch.testing.assert_close(found[0], alone(llama, [*A, 1]), atol=1e-5, rtol=1e-5)


def test_an_error_inside_gives_the_model_its_own_attention_back(llama: Any) -> None:
    before = llama.config._attn_implementation
    with pytest.raises(ZeroDivisionError), reader_of(llama).attached():
        raise ZeroDivisionError
    assert llama.config._attn_implementation == before


def test_a_network_that_trains_as_a_forest_can_be_run_by_transformers_for_a_while(llama: Any) -> None:
    own = llama.config._attn_implementation
    expected = alone(llama, A)
    use_attention(llama, forest=True)
    with own_attention(llama):
        torch.testing.assert_close(alone(llama, A), expected)
    assert llama.config._attn_implementation == FOREST
    use_attention(llama, forest=False, own=own)
