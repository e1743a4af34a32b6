"""`data suspects`: the examples that a run found hard, which are often mislabelled.

The decision: training computes the loss of every example anyway, so it is kept, and a suspicion is two plain facts: its
last loss is among the highest, or no epoch brought it below the first (it contradicts what the others teach).
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import orjson
from numpy.typing import NDArray

from tunesmith.data.checks import Finding
from tunesmith.data.duplicates import prompt_text, whole_text
from tunesmith.data.example import Origin
from tunesmith.data.reading import Balance, stream_examples
from tunesmith.errors import DataError, UsageError
from tunesmith.recipe import load_recipe
from tunesmith.run.folder import RECIPE, is_started
from tunesmith.tokens.encoded import EncodedExample
from tunesmith.training import durable
from tunesmith.training.losses import FILE, read_losses

ORIGINS = "origins.json"


@dataclass(frozen=True, slots=True)
class Suspect:
    """An example with its loss in each epoch (None: not trained in it), and its text where the file still holds it."""

    file: str
    line: int
    losses: tuple[float | None, ...]
    prompt: str = ""
    answer: str = ""


@dataclass(frozen=True, slots=True)
class Suspects:
    """The highest last losses of a run, and those that never fell below the first, highest first.

    `examples` and `epochs` say how much was trained; `rose` counts all examples whose loss never fell.
    """

    run: str
    examples: int
    epochs: int
    highest: tuple[Suspect, ...]
    never_fell: tuple[Suspect, ...]
    rose: int

    def as_dict(self) -> dict[str, Any]:
        """The JSON object of `data suspects --json`."""
        return asdict(self)


def keep_origins(run: Path, examples: Sequence[EncodedExample]) -> None:
    """Where each training example of a run stands, by its number."""
    files = list(dict.fromkeys(example.origin.file for example in examples))
    number = {file: i for i, file in enumerate(files)}
    places = [[number[example.origin.file], example.origin.line] for example in examples]
    durable.write_text(run / ORIGINS, orjson.dumps({"files": files, "places": places}).decode())


def suspects(run: Path, *, most: int = 20) -> Suspects:
    """The examples of a run, finished or not, that it found hardest; `most` of each kind.

    Raises:
        UsageError: there is no run, or it has kept no losses.
    """
    if not is_started(run):
        raise UsageError(f"{run}: there is no run in this folder.")
    if not (run / FILE).is_file() or not (run / ORIGINS).is_file():
        raise UsageError(f"{run}: this run has kept no losses of its examples. Runs begun from now on do.")
    recipe = load_recipe(str(run / RECIPE)).recipe
    origins = orjson.loads((run / ORIGINS).read_bytes())
    places = [Origin(origins["files"][file], line) for file, line in origins["places"]]
    losses = read_losses(run / FILE, count=len(places), seed=recipe.seed)
    last, rose = _last(losses), _rose(losses)
    # What a model wrote stands in no file, so nobody can mend it.
    order = [int(i) for i in np.argsort(-last, kind="stable") if np.isfinite(last[i]) and places[i].line]
    highest, never = order[:most], [i for i in order if rose[i]][:most]
    data = recipe.data
    texts = _texts({places[i] for i in (*highest, *never)}, {"format": data.format, "fields": data.fields})
    made = {i: _suspect(places[i], losses[:, i], texts) for i in (*highest, *never)}
    return Suspects(
        str(run), len(places), len(losses), tuple(made[i] for i in highest), tuple(made[i] for i in never),
        int(rose.sum()),
    )  # fmt: skip


def _last(losses: NDArray[np.float32]) -> NDArray[np.float32]:
    """The last known loss of each example."""
    last = np.full(losses.shape[1], np.nan, dtype=np.float32)
    for epoch in losses:
        last = np.where(np.isfinite(epoch), epoch, last)
    return last


def _rose(losses: NDArray[np.float32]) -> NDArray[np.bool_]:
    """Whether an example was trained again and its loss was never below the first."""
    if len(losses) < 2:
        return np.zeros(losses.shape[1], dtype=np.bool_)
    later = np.where(np.isfinite(losses[1:]), losses[1:], np.inf).min(axis=0)
    rose: NDArray[np.bool_] = np.isfinite(later) & (later >= losses[0])
    return rose


def _suspect(origin: Origin, losses: NDArray[np.float32], texts: Mapping[Origin, tuple[str, str]]) -> Suspect:
    known = tuple(round(float(loss), 4) if np.isfinite(loss) else None for loss in losses)
    return Suspect(origin.file, origin.line, known, *texts.get(origin, ("", "")))


def _texts(wanted: set[Origin], options: Mapping[str, Any]) -> dict[Origin, tuple[str, str]]:
    """Prompt and answer of the wanted examples; of files that are gone or changed beyond reading, none."""
    found: dict[Origin, tuple[str, str]] = {}
    for file in {origin.file for origin in wanted}:
        try:
            for item in stream_examples(file, Balance(), **options):
                if not isinstance(item, Finding) and item.origin in wanted:
                    prompt, whole = prompt_text(item), whole_text(item)
                    found.setdefault(item.origin, (prompt, whole.removeprefix(prompt).strip()))
        except DataError:
            continue
    return found
