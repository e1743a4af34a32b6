import json
from pathlib import Path

import pytest
from unit.tokens import tiny

from tunesmith.errors import TemplateError
from tunesmith.tokens.builtin import (
    BUILT_IN,
    control_texts,
    missing_control_tokens,
    template_text,
    with_control_tokens,
)
from tunesmith.tokens.encode import Encoder
from tunesmith.tokens.tokenizer import Tokenizer


@pytest.mark.parametrize("name", BUILT_IN)
def test_every_built_in_template_teaches_answers_with_an_end_token(name: str, tmp_path: Path) -> None:
    controls = [*control_texts(BUILT_IN[name]), "</s>", "<s>"]
    config = {"eos_token": "</s>", "bos_token": "<s>"}
    tokenizer = tiny.loaded(tmp_path, tiny.byte_level(control=controls), config=config, template=None)
    encoder = Encoder(tokenizer, chat_template=name)
    example = tiny.chat("system:be brief", "hi", "hello", "and", "ok")
    learned = encoder.learned(example)
    texts = [learned.rendering.text[start:end] for start, end, _ in learned.spans]
    assert [text.split("<")[0].strip() for text in texts] == ["hello", "ok"]
    assert all(encoder.ends_answer(text) for text in texts)
    ids = encoder.encode(example).ids.tolist()
    for turns in (2, 4):
        prompt = encoder.prompt(example.messages[:turns])
        assert ids[: len(prompt)] == prompt


def test_a_template_is_a_name_a_file_or_text(tmp_path: Path) -> None:
    file = tmp_path / "own.jinja"
    file.write_text("{{ messages }}")
    assert template_text("chatml") == BUILT_IN["chatml"]
    assert template_text(str(file)) == template_text("{{ messages }}") == "{{ messages }}"
    with pytest.raises(TemplateError, match=r"chatlm.*chatml, gemma, plain"):
        template_text("chatlm")


def test_the_control_tokens_that_a_tokenizer_lacks_are_found_by_running_the_template(tmp_path: Path) -> None:
    tokenizer = tiny.loaded(tmp_path, tiny.byte_level(control=["<|im_end|>"]))
    assert missing_control_tokens(BUILT_IN["chatml"], tokenizer) == ("<|im_start|>",)
    assert missing_control_tokens(BUILT_IN["plain"], tokenizer) == ()
    unused = "{% if tools %}<tools>{% endif %}" + tiny.CHATML
    assert missing_control_tokens(unused, tokenizer) == ("<|im_start|>",)


def test_added_control_tokens_become_one_token_behind_the_vocabulary(tmp_path: Path) -> None:
    backend = tiny.byte_level(control=["</s>"])
    folder = tiny.saved(tmp_path / "base", backend, config={"eos_token": "</s>"}, template=None)
    before = Tokenizer.load(folder)
    missing = missing_control_tokens(BUILT_IN["chatml"], before)
    files = {name: (folder / name).read_text() for name in ("tokenizer.json", "tokenizer_config.json")}
    changed = with_control_tokens(files, missing, end_token="<|im_end|>")
    for name, text in changed.items():
        (folder / name).write_text(text)
    after = Tokenizer.load(folder)
    assert [after.added[text] for text in missing] == [before.vocabulary_size, before.vocabulary_size + 1]
    assert after.eos_id == after.added["<|im_end|>"]
    assert after.encode("plain words") == before.encode("plain words")
    assert Encoder(after, chat_template="chatml").stop_ids == {after.added["<|im_end|>"]}
    assert json.loads(changed["tokenizer_config.json"])["eos_token"] == "<|im_end|>"


def test_a_control_token_that_is_a_plain_entry_of_the_vocabulary_keeps_its_id(tmp_path: Path) -> None:
    folder = tiny.saved(tmp_path, tiny.byte_level(merges=[("a", "b")], control=["</s>"]))
    files = {name: (folder / name).read_text() for name in ("tokenizer.json", "tokenizer_config.json")}
    before = Tokenizer.load(folder).id_of("ab")
    (folder / "tokenizer.json").write_text(with_control_tokens(files, ("ab",), end_token="</s>")["tokenizer.json"])
    assert Tokenizer.load(folder).added["ab"] == before
