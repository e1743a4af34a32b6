"""A name becomes one verified folder, once, and later without the network."""

from pathlib import Path
from typing import Any

import huggingface_hub
import pytest
from huggingface_hub.errors import LocalEntryNotFoundError
from transformers import AutoTokenizer
from unit.models.folders import folder, gguf_file

from tunesmith.errors import ModelError, UsageError
from tunesmith.models import gguf
from tunesmith.models.sources import known, resolve


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("TUNESMITH_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[bool]:
    """A hub that holds org/tiny; the list says for each request whether it was to stay local."""
    asked: list[bool] = []

    def snapshot(name: str, *, local_files_only: bool, **_: Any) -> str:
        asked.append(local_files_only)
        place = tmp_path / "hub" / "0123abcd"
        if name != "org/tiny" or (local_files_only and not place.exists()):
            raise LocalEntryNotFoundError("not here")
        return str(place if place.exists() else folder(place))

    monkeypatch.setattr(huggingface_hub, "snapshot_download", snapshot)
    return asked


def test_a_folder_is_taken_where_it_is(tmp_path: Path) -> None:
    source = resolve(str(folder(tmp_path / "mine")))
    assert (source.folder, source.name, source.hub_id, source.revision) == (tmp_path / "mine", "mine", None, None)


def test_a_gguf_file_is_converted_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = gguf_file(tmp_path / "tiny.gguf")
    first = resolve(str(file))
    monkeypatch.setattr(gguf, "convert", None)
    assert resolve(str(file)) == first
    assert first == resolve(str(file.rename(tmp_path / "tiny.GGUF")))
    assert str(first.folder) in [model.name for model in known()]


def test_a_hub_model_is_fetched_once_and_known_by_its_commit(hub: list[bool]) -> None:
    source = resolve("org/tiny")
    assert (source.hub_id, source.revision) == ("org/tiny", "0123abcd")
    assert resolve("org/tiny") == source
    assert hub == [True, False, True]


def test_a_hub_that_cannot_be_reached_is_said(hub: list[bool]) -> None:
    with pytest.raises(ModelError, match=r"is not here, and the hub cannot be reached\. Did you mean smollm2"):
        resolve("smolm2-135m-instruct")


def test_a_path_that_is_not_there_names_its_neighbours(tmp_path: Path) -> None:
    (tmp_path / "models" / "tiny").mkdir(parents=True)
    with pytest.raises(UsageError, match=r"Did you mean .*/models/tiny"):
        resolve(str(tmp_path / "models" / "tiney"))
    with pytest.raises(UsageError, match=r"Did you mean .*/models"):
        resolve(str(tmp_path / "modls" / "tiny.gguf"))


def test_a_folder_with_only_a_slow_tokenizer_gets_a_fast_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    place = folder(tmp_path / "slow")
    (place / "tokenizer.json").rename(tmp_path / "fast.json")

    class Slow:
        def save_pretrained(self, target: Path) -> None:
            (target / "tokenizer.json").write_bytes((tmp_path / "fast.json").read_bytes())

    monkeypatch.setattr(AutoTokenizer, "from_pretrained", lambda _, trust_remote_code: Slow())
    source = resolve(str(place))
    assert source.folder != place
    assert (source.folder / "model.safetensors").samefile(place / "model.safetensors")
    assert not (place / "tokenizer.json").exists()
    assert resolve(str(place)) == source


def test_a_folder_without_any_tokenizer_is_refused(tmp_path: Path) -> None:
    place = folder(tmp_path / "mute")
    for path in place.glob("tokenizer*"):
        path.unlink()
    with pytest.raises(ModelError, match=r"has no tokenizer\.json"):
        resolve(str(place))


def test_a_file_that_is_no_gguf_is_refused(tmp_path: Path) -> None:
    (tmp_path / "weights.bin").touch()
    with pytest.raises(ModelError, match=r"weights\.bin: is a single file"):
        resolve(str(tmp_path / "weights.bin"))
