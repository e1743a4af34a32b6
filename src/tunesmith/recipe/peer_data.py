"""Which data train, and which of their words are learned, as TRL, Axolotl and LLaMA-Factory say it."""

import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tunesmith.recipe.draft import Draft, written
from tunesmith.recipe.translation import attempt

_SUFFIXES = (".jsonl", ".ndjson", ".json", ".csv", ".tsv", ".parquet", ".arrow", ".txt", ".gz", ".zst")
_HUB_NAME = re.compile(r"[\w.-]+/[\w.-]+")
_RECOGNISED = "the format is recognised from the content, and named aloud"
_NOTHING_ASIDE = "the other tool sets nothing aside"


def trl(draft: Draft, folder: Path) -> None:
    """TRL: `dataset_name` or a list `datasets`; the whole conversation is learned unless something else is said."""
    source = draft.take("dataset_name", "datasets")
    names = [str(source["dataset_name"])] if "dataset_name" in source else _paths(source.get("datasets"))
    parts = draft.take("dataset_config", "dataset_train_split")
    subset = [str(parts["dataset_config"])] if "dataset_config" in parts else []
    split = [str(parts.get("dataset_train_split", "train"))] if parts else []
    _train(draft, {**source, **parts}, names, folder, part=[*subset, *split])
    if others := draft.take("dataset_test_split", "dataset_streaming"):
        draft.note(others, "not translated: name a file or hub:OWNER/NAME:SPLIT for data.validation")
    field = draft.take("dataset_text_field")
    if field.get("dataset_text_field") == "text":
        draft.note(field, "text, as here")
    elif field:
        draft.put("data.fields", {"text": field["dataset_text_field"]}, written(field))
    only = draft.take("assistant_only_loss", "completion_only_loss")
    if any(only.values()):
        draft.put("supervision.train_on", "assistant", written(only))
    elif only.get("completion_only_loss") is False:
        draft.put("supervision.train_on", "all", written(only))
    else:
        draft.note(
            only or "assistant_only_loss",
            "TRL learns every word of `messages` and only the completion of prompt/completion; here the answers",
        )
    _nothing_aside(draft)


def axolotl(draft: Draft, folder: Path) -> None:
    """Axolotl: a list `datasets`, a share `val_set_size` or `test_datasets`, `train_on_inputs`."""
    source = draft.take("datasets")
    datasets = source.get("datasets") or []
    _train(draft, source, _paths(datasets), folder)
    details = {key for entry in datasets if isinstance(entry, dict) for key in entry} - {"path", "data_files"}
    if details:
        draft.note([f"datasets.{key}" for key in sorted(details)], f"not translated: {_RECOGNISED}; see data.fields")
    if tests := draft.take("test_datasets"):
        files = [name for name in _paths(tests["test_datasets"]) if _is_file(name, folder)]
        if len(files) == 1:
            draft.put("data.validation", files[0], "test_datasets")
        else:
            draft.note(tests, "not translated: set data.validation to one local file")
    if share := draft.take("val_set_size"):
        attempt(draft, "val_set_size", "data.validation", share["val_set_size"])
    inputs = draft.take("train_on_inputs", "roles_to_train")
    if inputs:
        draft.put("supervision.train_on", "all" if inputs.get("train_on_inputs") else "assistant", written(inputs))
    _template(draft, "chat_template", folder)
    _nothing_aside(draft)


def llama_factory(draft: Draft, folder: Path) -> None:
    """LLaMA-Factory: names of `dataset_info.json` in `dataset_dir`, `val_size`, `train_on_prompt`, `mask_history`."""
    place = draft.take("dataset_dir")
    source = draft.take("dataset")
    listed = source.get("dataset", "")
    names = [part.strip() for part in listed.split(",")] if isinstance(listed, str) else [str(n) for n in listed]
    registry = _registry(folder / str(place.get("dataset_dir", "data")))
    base = Path(str(place.get("dataset_dir", "data")))
    files = [str(base / registry[name]) if name in registry else name for name in names if name]
    _train(draft, source, files, folder)
    if place:
        draft.note(place, "the place of dataset_info.json; the files themselves are named")
    if evaluation := draft.take("eval_dataset"):
        draft.note(evaluation, "not translated: set data.validation to a file")
    if share := draft.take("val_size"):
        attempt(draft, "val_size", "data.validation", share["val_size"])
    if learned := draft.take("train_on_prompt", "mask_history"):
        last = "last_assistant" if learned.get("mask_history") else "assistant"
        draft.put("supervision.train_on", "all" if learned.get("train_on_prompt") else last, written(learned))
    _template(draft, "template", folder)
    if stage := draft.take("stage"):
        draft.note(stage, f"{stage['stage']}: {_RECOGNISED}; plain text is learned whole")
    _nothing_aside(draft)


def _train(draft: Draft, source: dict[str, Any], names: list[str], folder: Path, part: Sequence[str] = ()) -> None:
    """data.train from names of files and of hub data sets (`part`: subset and split of the latter)."""
    found = {name: _here(name, folder, part) for name in names}
    missing = [name for name, place in found.items() if place is None]
    if missing:
        draft.note(source, f"not translated: {', '.join(missing)} is no file here; fetch it and set data.train")
    if not names:
        draft.note("data", "no training data are named; set data.train")
    train = [place or f"{name}.jsonl" for name, place in found.items()] or ["examples.jsonl"]
    comment = ", ".join([*source, *(["to be set"] if missing or not names else [])])
    draft.put("data.train", train[0] if len(train) == 1 else train, comment)


def _here(name: str, folder: Path, part: Sequence[str]) -> str | None:
    """How a data set of another tool is written here: a file, or one of the hub."""
    if _is_file(name, folder):
        return name
    return ":".join([f"hub:{name}", *part]) if _HUB_NAME.fullmatch(name) else None


def _paths(datasets: Any) -> list[str]:
    """The names or files of a list of data sets, each a mapping with `path` or a plain name."""
    names: list[str] = []
    for entry in datasets if isinstance(datasets, list) else []:
        inner = entry if isinstance(entry, dict) else {"path": entry}
        files = inner.get("data_files")
        names += [str(f) for f in (files if isinstance(files, list) else [files or inner.get("path", "unnamed")])]
    return names


def _is_file(name: str, folder: Path) -> bool:
    return name.endswith(_SUFFIXES) or (folder / name).exists()


def _registry(folder: Path) -> dict[str, str]:
    """File names by data set name, as LLaMA-Factory's `dataset_info.json` has them; empty without one."""
    try:
        entries = json.loads((folder / "dataset_info.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return {name: str(entry["file_name"]) for name, entry in entries.items() if "file_name" in entry}


def _template(draft: Draft, key: str, folder: Path) -> None:
    template = draft.take(key)
    if not template:
        return
    name = str(template[key])
    if name == "chatml" or name.endswith(".jinja") or (folder / name).is_file():
        draft.put("supervision.chat_template", name, written(template))
    else:
        draft.note(key, f"{name}: the model's own chat template is used; set supervision.chat_template to change it")


def _nothing_aside(draft: Draft) -> None:
    if "data.validation" not in draft.values:
        draft.put("data.validation", 0, f"{_NOTHING_ASIDE}; 0.05 would let you see overfitting")
    draft.put("data.test", 0, _NOTHING_ASIDE)
