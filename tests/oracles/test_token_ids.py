"""Token ids against transformers' AutoTokenizer on the same folder."""

from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from unit.tokens import tiny

from tunesmith.data.example import Example, Message
from tunesmith.tokens.encode import Encoder
from tunesmith.tokens.tokenizer import Tokenizer

transformers = pytest.importorskip("transformers")

LLAMA = (
    "{{ bos_token }}{% for m in messages %}{% if m.role == 'user' %}{{ '[INST] ' + m.content + ' [/INST]' }}"
    "{% else %}{{ ' ' + m.content + eos_token }}{% endif %}{% endfor %}"
)


def folders(root: Path) -> dict[str, Path]:
    named = {"bos_token": "<s>", "eos_token": "</s>"}
    byte_level = tiny.byte_level(
        control=["<s>", "</s>", "<|im_start|>", "<|im_end|>"], merges=[("h", "i"), ("Ġ", "hi"), ("o", "k")]
    )
    return {
        "byte-level": tiny.saved(root / "byte", byte_level, config=named),
        "with BOS": tiny.saved(root / "bos", tiny.putting_bos_in_front(byte_level, "<s>"), config=named),
        "spaces behind control tokens": tiny.saved(root / "prepend", tiny.with_spaces(), config=named, template=LLAMA),
        "a space once": tiny.saved(root / "first", tiny.with_spaces(scheme="first"), config=named, template=LLAMA),
    }


@pytest.fixture(scope="module")
def pairs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[Tokenizer, object]]:
    made = folders(tmp_path_factory.mktemp("tokenizers"))
    return {
        name: (Tokenizer.load(path), transformers.AutoTokenizer.from_pretrained(path)) for name, path in made.items()
    }


PLAIN = st.text("hi ok\n.,<|>é🚀", max_size=20)


@given(text=PLAIN)
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_plain_text_has_the_same_ids_and_decodes_alike(pairs: dict[str, tuple[Tokenizer, object]], text: str) -> None:
    for ours, theirs in pairs.values():
        ids = theirs.encode(text, add_special_tokens=False)  # type: ignore[attr-defined]
        assert ours.encode(text) == ids
        assert ours.decode(ids) == theirs.decode(ids, clean_up_tokenization_spaces=False)  # type: ignore[attr-defined]


@given(question=PLAIN, answer=PLAIN.filter(lambda t: t[:1] not in ("", "\n", " ")))
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_conversation_has_the_ids_of_apply_chat_template(
    pairs: dict[str, tuple[Tokenizer, object]], question: str, answer: str
) -> None:
    for name, (ours, theirs) in pairs.items():
        turns = [{"role": "user", "content": question}, {"role": "assistant", "content": answer}]
        expected = theirs.apply_chat_template(turns, tokenize=True, return_dict=False)  # type: ignore[attr-defined]
        if name == "with BOS":
            expected = [ours.bos_id, *expected]  # the template writes none, and the tokenizer wants one
        messages = tuple(Message(turn["role"], turn["content"]) for turn in turns)
        encoder = Encoder(ours)
        encoded = encoder.encode(Example(messages, tiny.HERE)).ids.tolist()
        prompt = encoder.prompt(messages[:1])
        assert encoded == expected, name
        assert encoded[: len(prompt)] == prompt


PARTS = st.lists(
    st.sampled_from(["<s>", "</s>", "<|im_end|>", " hi", "ok ", "\n", " ", "<", "|im_end|>", "é"]), max_size=8
)


@given(texts=st.lists(PARTS.map("".join), max_size=4))
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_batch_has_the_ids_of_its_texts_control_tokens_included(
    pairs: dict[str, tuple[Tokenizer, object]], texts: list[str]
) -> None:
    for ours, theirs in pairs.values():
        expected = [theirs.encode(text, add_special_tokens=False) for text in texts]  # type: ignore[attr-defined]
        assert [ids.tolist() for ids in ours.encode_batch([(text, "start") for text in texts])] == expected


def test_special_tokens_have_the_same_ids(pairs: dict[str, tuple[Tokenizer, object]]) -> None:
    for ours, theirs in pairs.values():
        assert (ours.bos_id, ours.eos_id) == (theirs.bos_token_id, theirs.eos_token_id)  # type: ignore[attr-defined]
        assert ours.vocabulary_size == len(theirs)  # type: ignore[arg-type]
        assert set(ours.control.values()) >= set(theirs.all_special_ids)  # type: ignore[attr-defined]
