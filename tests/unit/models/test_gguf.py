"""A GGUF file becomes the same model, and a tokenizer that splits text as its vocabulary was made."""

from pathlib import Path

import pytest
import torch
from transformers import AutoTokenizer
from unit.models.folders import gguf_file, model

from tunesmith.errors import ModelError
from tunesmith.models.gguf import convert
from tunesmith.models.load import load_model


@pytest.fixture(scope="module")
def converted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny GGUF file, converted."""
    folder = tmp_path_factory.mktemp("gguf")
    convert(gguf_file(folder / "tiny.gguf"), folder / "model")
    return folder / "model"


def test_the_weights_are_those_of_the_file(converted: Path) -> None:
    original = model(tie_word_embeddings=True)
    loaded = load_model(converted, dtype=torch.float32)
    assert loaded.get_output_embeddings().weight is loaded.get_input_embeddings().weight
    for name, value in original.state_dict().items():
        assert torch.equal(loaded.state_dict()[name], value), name


def test_digits_stand_alone_where_the_vocabulary_was_made_so(converted: Path) -> None:
    tokenizer = AutoTokenizer.from_pretrained(converted)
    assert tokenizer.tokenize("ab  12") == ["ab", "ĠĠ", "1", "2"]


def test_control_tokens_and_the_chat_template_survive(converted: Path) -> None:
    tokenizer = AutoTokenizer.from_pretrained(converted)
    assert (tokenizer.eos_token, tokenizer.bos_token, tokenizer.model_max_length) == ("<|end|>", "<|start|>", 64)
    text = tokenizer.apply_chat_template([{"role": "user", "content": "ab"}], tokenize=False)
    assert tokenizer(text)["input_ids"] == [1, tokenizer.convert_tokens_to_ids("ab"), 0]


def test_the_folder_does_not_say_that_it_was_quantised(converted: Path) -> None:
    config = (converted / "config.json").read_text()
    assert "gguf" not in config
    assert "1e-06" in config


def test_a_rule_that_cannot_be_rebuilt_is_refused(tmp_path: Path) -> None:
    file = gguf_file(tmp_path / "odd.gguf", rule="chameleon")
    with pytest.raises(ModelError, match="'chameleon', which cannot be rebuilt"):
        convert(file, tmp_path / "model")


def test_a_broken_file_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "broken.gguf"
    file.write_bytes(b"GGUF\x03\x00\x00\x00 and nothing more")
    with pytest.raises(ModelError, match=r"broken\.gguf: is not a whole GGUF file"):
        convert(file, tmp_path / "model")
