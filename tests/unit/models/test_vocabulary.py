"""A model whose vocabulary grew is another model folder, made once."""

import json
from pathlib import Path

import pytest
import torch
from unit.models.folders import VOCABULARY, folder

from tunesmith.models import vocabulary
from tunesmith.models.load import load_model
from tunesmith.models.sources import resolve
from tunesmith.models.vocabulary import with_tokens

LIKE = {VOCABULARY: 1, VOCABULARY + 1: 0}


@pytest.mark.parametrize("tied", [True, False])
def test_new_rows_start_like_their_models_and_old_rows_stay(
    tied: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TUNESMITH_HOME", str(tmp_path / "home"))
    source = resolve(str(folder(tmp_path / "base", tie_word_embeddings=tied)))
    files = {"tokenizer.json": "{}", "tokenizer_config.json": "{}"}
    grown = with_tokens(source, files, like=LIKE)
    before, after = (load_model(place, dtype=torch.float32) for place in (source.folder, grown.folder))
    assert json.loads((grown.folder / "config.json").read_text())["vocab_size"] == VOCABULARY + 2
    assert (grown.folder / "tokenizer.json").read_text() == "{}"
    assert (after.lm_head.weight is after.model.embed_tokens.weight) is tied
    spread = float(before.model.embed_tokens.weight.detach().std())
    for old, new in ((before.model.embed_tokens, after.model.embed_tokens), (before.lm_head, after.lm_head)):
        assert torch.equal(new.weight[:VOCABULARY], old.weight)
        assert not torch.equal(new.weight[VOCABULARY], old.weight[1])
        assert torch.allclose(new.weight[VOCABULARY], old.weight[1], rtol=0, atol=spread / 10)
    assert grown.fingerprint != source.fingerprint
    monkeypatch.setattr(vocabulary, "load_model", None)
    assert with_tokens(source, files, like=LIKE) == grown
