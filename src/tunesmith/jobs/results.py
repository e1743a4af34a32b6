"""What a run leaves behind, as the API shows it: metrics, the result file, and the checkpoints that can be served.

The decision: everything is read from the run folder, which is the only thing that a run and the service share. A
servable checkpoint is the folder of the final weights with the weights exchanged: its tensors are those of the run's
own checkpoint under the names of the final file, copied as bytes, so no tensor is ever loaded here.
"""

import csv
import io
import json
import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from tunesmith import disk
from tunesmith.run.folder import SUMS, seal

Entry = Mapping[str, Any]
COLUMNS = ("step", "train_loss", "train_accuracy", "valid_loss", "valid_mean_token_accuracy")
_ADAPTER, _WHOLE, _INDEX = "adapter_model.safetensors", "model.safetensors", "model.safetensors.index.json"


class Follower:
    """A journal that grows, and that a resumed run cuts back to its checkpoint before it goes on."""

    def __init__(self, journal: Path) -> None:
        self._journal, self._at, self._last = journal, 0, b""

    def fresh(self) -> list[Entry]:
        """The lines that came since the last look; all once more where the last one seen stands there no longer."""
        try:
            with self._journal.open("rb") as file:
                file.seek(self._at - len(self._last))
                raw = file.read()
                if not raw.startswith(self._last):
                    file.seek(0)
                    self._at, self._last, raw = 0, b"", file.read()
        except FileNotFoundError:
            return []
        lines = raw[len(self._last) : raw.rfind(b"\n") + 1].splitlines(keepends=True)
        self._at += sum(map(len, lines))
        self._last = lines[-1] if lines else self._last
        return [json.loads(line) for line in lines]


def entries(journal: Path) -> list[Entry]:
    """The whole lines of a journal."""
    return Follower(journal).fresh()


def metrics(entry: Entry) -> dict[str, Any]:
    """A journal entry in the words of the API."""
    found = {
        "step": entry["step"], "train_loss": entry.get("loss"), "train_mean_token_accuracy": entry.get("accuracy"),
        "valid_loss": entry.get("validation_loss"), "valid_mean_token_accuracy": entry.get("validation_accuracy"),
        "full_valid_loss": entry.get("validation_loss"),
        "full_valid_mean_token_accuracy": entry.get("validation_accuracy"),
    }  # fmt: skip
    return {name: value for name, value in found.items() if value is not None}


def step_metrics(journal: Sequence[Entry]) -> bytes:
    """The result file `step_metrics.csv`; a cell is empty where nothing was measured."""
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    table.writerow(COLUMNS)
    for entry in journal:
        names = ("step", "loss", "accuracy", "validation_loss", "validation_accuracy")
        table.writerow(["" if entry.get(name) is None else entry[name] for name in names])
    return text.getvalue().encode()


def epoch_ends(journal: Sequence[Entry]) -> list[Entry]:
    """The last entry of each epoch."""
    return list({entry["epoch"]: entry for entry in journal}.values())


def weights(run: Path) -> Path | None:
    """The folder of a finished run that is served: the weights mixed with the base's, else its best, else its last."""
    return next((run / name for name in ("kept", "best", "final") if (run / name).is_dir()), None)


def publish_checkpoints(run: Path, to: Path, journal: Sequence[Entry]) -> Iterator[tuple[Entry, Path]]:
    """Each epoch end whose checkpoint is still there, with the folder (under `to`) from which it can be served."""
    for entry in epoch_ends(journal):
        stored = run / "checkpoints" / f"step-{entry['step']}" / "weights.safetensors"
        folder = to / f"step-{entry['step']}"
        if folder.is_dir() or (stored.is_file() and _publish(run / "final", stored, folder)):
            yield entry, folder


def _publish(final: Path, stored: Path, folder: Path) -> bool:
    """Make `folder`; False where the checkpoint holds only a part of the final file's tensors."""
    adapter = (final / _ADAPTER).is_file()
    header, data = _read(stored)
    tensors = {name: value for name, value in header.items() if name != "__metadata__"}
    if adapter:
        tensors = {f"base_model.model.{name}.weight": value for name, value in tensors.items()}
    elif not (final / _WHOLE).is_file() or set(_read(final / _WHOLE)[0]) - {"__metadata__"} != set(tensors):
        return False
    partial = folder.with_name(f".{folder.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    for file in final.iterdir():
        if file.name not in (_ADAPTER, _WHOLE, _INDEX, SUMS):
            os.link(file, partial / file.name)
    _write(partial / (_ADAPTER if adapter else _WHOLE), tensors, stored, data)
    seal(partial)
    partial.rename(folder)
    disk.sync(folder.parent)
    return True


def _read(file: Path) -> tuple[dict[str, Any], int]:
    """The header of a safetensors file (8 bytes of length, JSON) and where the data begin."""
    with file.open("rb") as opened:
        length = int.from_bytes(opened.read(8), "little")
        return json.loads(opened.read(length)), 8 + length


def _write(file: Path, tensors: Mapping[str, Any], source: Path, data: int) -> None:
    header = json.dumps({"__metadata__": {"format": "pt"}, **tensors}).encode()
    header += b" " * (-len(header) % 8)
    with file.open("wb") as out, source.open("rb") as given:
        out.write(len(header).to_bytes(8, "little") + header)
        given.seek(data)
        shutil.copyfileobj(given, out)
        out.flush()
        os.fsync(out.fileno())
