import json
from pathlib import Path

import pytest
from unit.tokens import tiny

from tunesmith.errors import ModelError
from tunesmith.tokens.tokenizer import Tokenizer


def test_control_tokens_in_text_are_text_unless_asked(tmp_path: Path) -> None:
    tokenizer = tiny.loaded(tmp_path, tiny.byte_level())
    text = "a<|im_end|>b"
    assert not set(tokenizer.control.values()) & set(tokenizer.encode(text))
    assert tokenizer.decode(tokenizer.encode(text)) == text
    assert set(tokenizer.control.values()) & set(tokenizer.encode(text, special=True))


def test_the_ids_of_control_tokens_come_from_the_names_in_the_configuration(tmp_path: Path) -> None:
    backend = tiny.byte_level(control=["<s>", "</s>"])
    config = {"bos_token": {"content": "<s>"}, "eos_token": "</s>"}
    tokenizer = tiny.loaded(tmp_path, backend, config=config, generation={"eos_token_id": 7})
    assert (tokenizer.bos_id, tokenizer.eos_id) == (backend.token_to_id("<s>"), backend.token_to_id("</s>"))
    assert tokenizer.stop_ids == {7, tokenizer.eos_id}


def test_end_tokens_are_read_from_the_models_configuration_where_there_is_no_other(tmp_path: Path) -> None:
    folder = tiny.saved(tmp_path, tiny.byte_level(), config={})
    (folder / "config.json").write_text(json.dumps({"eos_token_id": [3, 4]}))
    assert Tokenizer.load(folder).stop_ids == {3, 4}


def test_a_template_inside_the_configuration_is_found(tmp_path: Path) -> None:
    named = [{"name": "tool_use", "template": "no"}, {"name": "default", "template": "yes"}]
    tokenizer = tiny.loaded(tmp_path, tiny.byte_level(), config={"chat_template": named}, template=None)
    assert tokenizer.chat_template == "yes"


@pytest.mark.parametrize(
    ("name", "text"), [("tokenizer.json", None), ("tokenizer.json", "{}"), ("tokenizer_config.json", "{")]
)
def test_a_folder_that_cannot_be_used_is_refused_by_name(tmp_path: Path, name: str, text: str | None) -> None:
    folder = tiny.saved(tmp_path, tiny.byte_level())
    if text is None:
        (folder / name).unlink()
    else:
        (folder / name).write_text(text)
    with pytest.raises(ModelError, match=name):
        Tokenizer.load(folder)


def test_padding_and_truncation_of_the_file_do_not_touch_the_ids(tmp_path: Path) -> None:
    backend = tiny.byte_level()
    expected = backend.encode("hello there").ids
    backend.enable_truncation(3)
    backend.enable_padding(length=20)
    assert tiny.loaded(tmp_path, backend).encode("hello there") == expected


@pytest.mark.parametrize("scheme", ["prepend", "first"])
def test_a_text_in_pieces_has_the_ids_of_the_whole_where_a_space_is_put_in_front(tmp_path: Path, scheme: str) -> None:
    tokenizer = tiny.loaded(tmp_path, tiny.with_spaces(scheme=scheme))
    whole = "<s>[INST] hi [/INST] yes and no</s><s>more"
    expected, _ = tokenizer.offsets(whole)
    for cut in (3, 6, 20, 21, 24, len("<s>[INST] hi [/INST] yes and no"), whole.index("more")):
        head, tail = whole[:cut], whole[cut:]
        after = "control" if tokenizer.ends_with_added(head) else "text"
        ids = [*tokenizer.encode_batch([(head, "start")])[0], *tokenizer.encode_batch([(tail, after)])[0]]  # type: ignore[list-item]
        assert ids == expected, cut


def test_the_fingerprint_follows_template_vocabulary_and_control_tokens(tmp_path: Path) -> None:
    prints = [
        tiny.loaded(tmp_path / "a", tiny.byte_level()).fingerprint,
        tiny.loaded(tmp_path / "b", tiny.byte_level(), template="x").fingerprint,
        tiny.loaded(tmp_path / "c", tiny.byte_level(merges=[("a", "b")])).fingerprint,
        tiny.loaded(tmp_path / "d", tiny.byte_level(), config={}).fingerprint,
    ]
    assert len(set(prints)) == 4
    assert tiny.loaded(tmp_path / "e", tiny.byte_level()).fingerprint == prints[0]
