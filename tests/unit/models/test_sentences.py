from pathlib import Path

import numpy as np
import pytest
import torch
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
from transformers import BertConfig, BertModel

from tunesmith.models.cache import home
from tunesmith.models.sentences import NAME, SHA256, vectors

TEXTS = ["red green", "blue", "", "red " * 300, "green red"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random model of the same kind, with five words."""
    place = tmp_path_factory.mktemp("sentences")
    words = {word: number for number, word in enumerate(("[PAD]", "[UNK]", "[CLS]", "[SEP]", "red", "green", "blue"))}
    tokenizer = Tokenizer(models.WordPiece(words, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer()
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    tokenizer.enable_padding(length=128)
    tokenizer.save(str(place / "tokenizer.json"))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        BertModel(
            BertConfig(vocab_size=7, hidden_size=16, num_hidden_layers=2, num_attention_heads=2, intermediate_size=32)
        ).save_pretrained(place)
    return place


def test_a_vector_is_the_mean_of_the_last_layer_whatever_stands_beside_the_text(folder: Path) -> None:
    found = vectors(TEXTS, folder)
    plain = BertModel.from_pretrained(folder).eval()
    ids = {"red green": [2, 4, 5, 3], "blue": [2, 6, 3], "": [2, 3], "green red": [2, 5, 4, 3]}
    for text, of_text in zip(TEXTS, found, strict=True):
        with torch.no_grad():
            read = ids.get(text, [2, *[4] * 254, 3])
            mean = plain(input_ids=torch.tensor([read])).last_hidden_state[0].mean(0)
        np.testing.assert_allclose(of_text, (mean / mean.norm()).numpy(), atol=1e-5)


def test_no_texts_have_no_vectors(folder: Path) -> None:
    assert vectors([], folder).shape == (0, 16)


@pytest.mark.skipif(not (home() / "models" / f"{NAME}-{SHA256[:12]}").is_dir(), reason="the model is not here")
def test_what_means_the_same_is_closer_than_what_shares_its_words() -> None:
    one, same, other = vectors(
        ["How do I reset my password?", "I forgot my login secret, help.", "How do I reset my kitchen clock?"]
    )
    assert one @ same > one @ other
    assert one @ one == pytest.approx(1, abs=1e-5)
