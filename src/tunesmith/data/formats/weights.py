"""How much a turn, and a part of it, counts: the flags of all tools in one form.

The decision: offsets count characters of the turn's content. Where a turn lists what is to be learned (`train_on`,
Axolotl's `train_detail`), the rest of its content is context; a content part with a flag of its own changes nothing
for the others. The end token of the turn counts as the turn does.
"""

import math
from collections.abc import Mapping
from typing import Any

from tunesmith.data.formats.format import Notes
from tunesmith.data.formats.roles import MASKED, WEIGHTS

PARTS = ("train_on", "train_detail", "weights")
Parts = tuple[tuple[int, int, float], ...]


def flag_of(raw: Mapping[str, Any], at: str, notes: Notes) -> float | None:
    """The weight that flags give a turn or a part; None where there is none, or a finding."""
    values: dict[str, float] = {}
    for key in (*WEIGHTS, MASKED):
        value = raw.get(key)
        if value is None or (key == MASKED and value is False):
            continue  # what is not masked counts as it would without the flag
        if not isinstance(value, int | float) or not math.isfinite(value) or value < 0:
            what = f"{str(value)[:40]!r} ({type(value).__name__})"
            notes.add("bad-weight", f"{key} is {what}, where a number ≥ 0 is needed.", f"{at}.{key}")
            return None
        values[key] = float(not value) if key == MASKED else float(value)
    if len(set(values.values())) > 1:
        notes.add("bad-weight", f"the flags contradict each other: {values}.", at)
        return None
    return next(iter(values.values()), None)


def read_parts(raw: Mapping[str, Any], content: str, flagged: Parts, role: str, at: str, notes: Notes) -> Parts:
    """The parts of a turn's content that count otherwise than the turn: those `flagged` already, or those listed.

    Listed are [start, end], [start, end, weight] or objects with such keys; Axolotl's `end_offset` is the last
    character itself.
    """
    key = next((key for key in PARTS if raw.get(key)), None)
    if key is not None and flagged:
        notes.add("bad-parts", f"both {key} and the parts of the content have weights.", f"{at}.{key}")
        return ()
    parts = flagged if key is None else _listed(raw[key], len(content), f"{at}.{key}", notes)
    if role != "assistant":
        if any(weight for _, _, weight in parts):
            message = f"parts to be learned stand on a {role} turn; weights are read on assistant turns alone."
            notes.add("weight-not-on-assistant", message, f"{at}.{key or 'content'}")
        return ()
    return parts


def _listed(raw: Any, length: int, at: str, notes: Notes) -> Parts:
    entries = raw if isinstance(raw, list) and not _is_part(raw) else [raw]
    parts: list[tuple[int, int, float]] = []
    for i, entry in enumerate(entries):
        part = _part(entry)
        if part is None or not 0 <= part[0] < part[1] <= length or not math.isfinite(part[2]) or part[2] < 0:
            message = f"{str(entry)[:60]} is no part of a turn of {length} characters: [start, end, weight]."
            notes.add("bad-parts", message, f"{at}[{i}]")
            return ()
        parts.append(part)
    parts.sort()
    filled, end = [], 0
    for start, stop, weight in parts:
        if start < end:
            notes.add("bad-parts", f"two parts overlap at character {start}.", at)
            return ()
        filled += [(end, start, 0.0)] * (start > end) + [(start, stop, weight)]
        end = stop
    return (*filled, *([(end, length, 0.0)] * (end < length)))


def _is_part(raw: list[Any]) -> bool:
    return len(raw) in (2, 3) and all(isinstance(number, int | float) for number in raw)


def _part(entry: Any) -> tuple[int, int, float] | None:
    if isinstance(entry, Mapping):
        inclusive = "end_offset" in entry
        start = entry.get("begin_offset", entry.get("start"))
        end = entry.get("end_offset", entry.get("end"))
        weight = entry.get("weight", entry.get("train", 1.0))
    elif isinstance(entry, list) and _is_part(entry):
        (start, end, *rest), inclusive = entry, False
        weight = rest[0] if rest else 1.0
    else:
        return None
    if not isinstance(start, int) or not isinstance(end, int) or not isinstance(weight, int | float):
        return None
    return start, end + inclusive, float(weight)
