"""An export is the model of the run, checked by loading it again."""

from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM
from unit.models.folders import folder

from tunesmith.errors import ModelError, UsageError
from tunesmith.models.adapters import adapted, save_adapter
from tunesmith.models.load import load_model
from tunesmith.models.methods import apply
from tunesmith.models.save import copy_beside, write_model
from tunesmith.models.settings import Lora
from tunesmith.models.sources import resolve
from tunesmith.run import export as module
from tunesmith.run.export import export

IDS = torch.arange(3, 12)[None]


def logits(model: Any) -> torch.Tensor:
    with torch.no_grad():
        found: torch.Tensor = model(input_ids=IDS, use_cache=False).logits
    return found


@pytest.fixture
def lora_run(tmp_path: Path) -> tuple[Path, torch.Tensor]:
    """A run folder with an adapter in best/, and the logits of its model."""
    source = resolve(str(folder(tmp_path / "base")))
    network = load_model(source.folder, dtype=torch.float32)
    apply(Lora(rank=2), network, seed=0)
    for layer in adapted(network).values():
        torch.nn.init.constant_(layer.lora_B, 0.05)
    run = tmp_path / "run"
    save_adapter(network, run / "best", Lora(rank=2), source)
    copy_beside(source.folder, run / "best")
    (run / "best" / "chat_template.jinja").write_text("the run's own")
    (run / "recipe.yaml").touch()
    return run, logits(network)


def test_a_merged_export_is_a_plain_model_with_the_runs_template(
    lora_run: tuple[Path, torch.Tensor], tmp_path: Path
) -> None:
    run, expected = lora_run
    said: list[str] = []
    export(run, tmp_path / "out", merge=True, say=said.append)
    found = logits(AutoModelForCausalLM.from_pretrained(tmp_path / "out"))
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5)
    assert (tmp_path / "out" / "chat_template.jinja").read_text() == "the run's own"
    assert not (tmp_path / "out" / "adapter_config.json").exists()
    assert "best" in said[0]
    assert "logits differ by" in said[1]


def test_an_adapter_stays_an_adapter(lora_run: tuple[Path, torch.Tensor], tmp_path: Path) -> None:
    run, expected = lora_run
    export(run, tmp_path / "out", say=lambda _: None)
    assert not (tmp_path / "out" / "model.safetensors").exists()
    assert torch.equal(logits(load_model(tmp_path / "out", dtype=torch.float32)), expected)


def test_a_full_run_is_exported_as_it_is(tmp_path: Path) -> None:
    source = folder(tmp_path / "base")
    network = load_model(source, dtype=torch.float32)
    torch.nn.init.normal_(network.lm_head.weight)
    (tmp_path / "run" / "final").mkdir(parents=True)
    (tmp_path / "run" / "recipe.yaml").touch()
    write_model(network, tmp_path / "run" / "final", source_folder=source)
    export(tmp_path / "run", tmp_path / "out", say=lambda _: None)
    assert torch.equal(logits(load_model(tmp_path / "out", dtype=torch.float32)), logits(network))


def test_a_folder_that_holds_something_is_refused(lora_run: tuple[Path, torch.Tensor], tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mine").touch()
    with pytest.raises(UsageError, match="not overwritten"):
        export(lora_run[0], tmp_path / "out")


def test_a_run_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no such run or model folder"):
        export(tmp_path / "nothing", tmp_path / "out")


def test_an_export_that_differs_is_removed(
    lora_run: tuple[Path, torch.Tensor], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def write_another(model: Any, partial: Path, beside: tuple[Path, Path]) -> None:
        folder(partial)

    monkeypatch.setattr(module, "_write_plain", write_another)
    with pytest.raises(ModelError, match="does not answer as"):
        export(lora_run[0], tmp_path / "out", merge=True, say=lambda _: None)
    assert not (tmp_path / "out").exists()
    assert not (tmp_path / ".out.partial").exists()
