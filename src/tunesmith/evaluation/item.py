"""Item: one question of a task as the metrics read it, and the score file that keeps all of them.

The decision: a score file holds what was answered, not only what it scored. So two files can be compared by any metric
afterwards, also by one that was not asked for when the model was at hand.
"""

import math
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

import orjson

from tunesmith.errors import DataError


@dataclass(frozen=True, slots=True)
class Item:
    """One answer beside its reference.

    `nats` is the summed negative log-likelihood of the reference's `targets` tokens under the model; nan and 0 where it
    was not measured. `finished` says that the answer stopped by its end token, not by its length. `options` are the
    texts between which the answer was chosen, each with its log-probability; none where it was written freely.
    """

    answer: str
    reference: str
    finished: bool = True
    nats: float = math.nan
    targets: int = 0
    prompt: str = ""
    options: Mapping[str, float] = field(default_factory=dict)


def save_items(path: Path, items: Iterable[Item], scores: Iterable[dict[str, float]]) -> None:
    """One JSON object a line: the item's place, its fields, and `scores` (metric → number of this item alone)."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as file:
        for index, (item, of_item) in enumerate(zip(items, scores, strict=True)):
            file.write(orjson.dumps({"index": index, **asdict(item), "scores": of_item}) + b"\n")


def load_items(path: Path) -> list[Item]:
    """The items of a score file in their order.

    Raises:
        DataError: the file is missing, or a line is not an item.
    """
    if not path.is_file():
        raise DataError(
            f"{path}: there is no such score file. `tunesmith evaluate MODEL --data FILE --out DIR` writes one."
        )
    with path.open("rb") as file:
        return [_item(line, f"{path}:{number}") for number, line in enumerate(file, start=1)]


def _item(line: bytes, where: str) -> Item:
    try:
        raw: Any = orjson.loads(line)
        known = {each.name: raw[each.name] for each in fields(Item) if each.name != "options" or "options" in raw}
    except (orjson.JSONDecodeError, TypeError, KeyError) as error:
        raise DataError(
            f"{where}: not a line of a score file ({error}). Write the file again with evaluate."
        ) from error
    known["nats"] = math.nan if known["nats"] is None else known["nats"]
    return Item(**known)
