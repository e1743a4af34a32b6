import json
import shutil
from pathlib import Path

import pytest

from tunesmith.data.example import Message
from tunesmith.errors import UsageError
from tunesmith.models.adapters import adapted
from tunesmith.run.opened import open_model


def test_a_run_is_its_last_weights_with_the_adapter_on_and_says_so(run: Path) -> None:
    said: list[str] = []
    opened = open_model(str(run), say=said.append)
    assert said == [f"model: the weights of the last step of {run}"]
    assert opened.folder == run / "final"
    assert adapted(opened.model)
    assert opened.system == "Be short."


def test_a_run_is_its_best_weights_where_it_has_them(run: Path, tmp_path: Path) -> None:
    copy = tmp_path / "run"
    shutil.copytree(run, copy)
    shutil.copytree(copy / "final", copy / "best")
    assert open_model(str(copy), say=lambda _: None).what == f"the best weights of {copy}"


def test_a_run_without_weights_says_how_to_go_on(run: Path, tmp_path: Path) -> None:
    copy = tmp_path / "run"
    shutil.copytree(run, copy)
    shutil.rmtree(copy / "final")
    with pytest.raises(UsageError, match="no finished weights yet"):
        open_model(str(copy), say=lambda _: None)


def test_a_model_without_a_template_gets_one_and_says_which(folder: Path, tmp_path: Path) -> None:
    bare = tmp_path / "bare"
    shutil.copytree(folder, bare)
    (bare / "chat_template.jinja").unlink(missing_ok=True)
    config = json.loads((bare / "tokenizer_config.json").read_text())
    config.pop("chat_template", None)
    (bare / "tokenizer_config.json").write_text(json.dumps(config))
    said: list[str] = []
    opened = open_model(str(bare), say=said.append)
    assert said[0] == "the model has no chat template; prompts are written as chatml"
    text = opened.encoder.tokenizer.decode(opened.encoder.prompt([Message("user", "hi")]))
    assert text.endswith("<|im_start|>assistant\n")


def test_a_model_that_does_not_exist_is_refused() -> None:
    with pytest.raises(UsageError):
        open_model("no-such-model-here.gguf", say=lambda _: None)
