"""Rows that another tool has turned into tokens: ids, and what is learned of them.

The decision: such rows are trained exactly as they are, so everything that can be checked is: as many weights as ids,
labels that are the ids themselves (labels that another tool has shifted would teach every word one place too early),
padding only at the ends, and rows that hold several examples cut where their positions begin anew. Read are
`input_ids` with `labels` (-100: not learned), a mask or weights, and what `tunesmith data show --json` prints.
"""

from collections.abc import Mapping
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tunesmith.data.example import Tokenized
from tunesmith.data.formats.format import Format, Notes, Outcome
from tunesmith.data.formats.messages import record_weight
from tunesmith.data.records import Record

IDS = ("input_ids", "token_ids", "ids", "tokens")
# TRL, Axolotl, tinker and ourselves; a mask is a weight of 0 or 1.
WEIGHTS = ("weights", "loss_weights", "loss_mask", "completion_mask", "assistant_masks", "loss_scale")
IGNORED = -100

Numbers = NDArray[np.float64]


def _recognise(value: Mapping[str, Any]) -> bool:
    ids = next((value[name] for name in IDS if name in value), None)
    told = "input_ids" in value or any(name in value for name in ("labels", *WEIGHTS))
    return isinstance(ids, list) and told and (not ids or isinstance(ids[0], int))


def _examples(record: Record) -> Outcome:
    value, notes = record.value, Notes(record.origin)
    name = next((name for name in IDS if name in value), IDS[0])
    ids = _numbers(value, name, notes)
    if ids is not None and (not len(ids) or (ids < 0).any() or (ids % 1).any()):
        notes.add("bad-tokens", f"{name} holds no list of whole numbers ≥ 0.", name)
    if ids is None or notes.stopped:
        return notes.outcome()
    weights = _weights(value, ids, name, notes)
    first, last = _padding(value, ids, notes)
    cuts = _beginnings(value, ids, notes)
    if notes.stopped or weights is None:
        return notes.outcome()
    weights *= record_weight(value, notes)
    borders = [first, *(cut for cut in cuts if first < cut < last), last]
    return notes.outcome(
        *(
            Tokenized(ids[a:b].astype(np.int64), weights[a:b].astype(np.float32), record.origin)
            for a, b in pairwise(borders)
        )
    )


def _numbers(value: Mapping[str, Any], name: str, notes: Notes, length: int | None = None) -> Numbers | None:
    """A field as numbers, None with a finding where it is no list of them or has another length."""
    raw = value.get(name)
    if not isinstance(raw, list) or not all(isinstance(number, int | float) for number in raw):
        notes.add("bad-tokens", f"{name} holds no list of numbers.", name)
        return None
    if length is not None and len(raw) != length:
        notes.add("bad-tokens", f"{name} has {len(raw):,} entries beside {length:,} token ids.", name)
        return None
    found = np.array(raw, dtype=np.float64)
    if not np.isfinite(found).all():
        notes.add("bad-tokens", f"{name} holds a number that is not finite.", name)
        return None
    return found


def _weights(value: Mapping[str, Any], ids: Numbers, name: str, notes: Notes) -> Numbers | None:
    """What of the ids is learned, by whichever fields tell; a token counts where all of them let it."""
    told = [field for field in WEIGHTS if value.get(field) is not None]
    weights = np.ones(len(ids))
    for field in told:
        found = _numbers(value, field, notes, len(ids))
        if found is None:
            return None
        if (found < 0).any():
            notes.add("bad-weight", f"{field} holds {found.min():g}, where numbers ≥ 0 are needed.", field)
            return None
        weights *= found
    if value.get("labels") is not None:
        labels = _numbers(value, "labels", notes, len(ids))
        if labels is None or not _are_the_ids(labels, ids, notes):
            return None
        weights *= labels != IGNORED
    elif not told:
        notes.add("all-learned", "the tokens come without labels and weights, so all of them are learned.", name)
    return weights


def _are_the_ids(labels: Numbers, ids: Numbers, notes: Notes) -> bool:
    learned = labels != IGNORED
    wrong = np.flatnonzero(learned & (labels != ids))
    if not len(wrong):
        return True
    place = int(wrong[0])
    shifted = (labels[:-1] == ids[1:])[learned[:-1]].all()
    why = (
        "the labels are shifted by one; here a label stands at its own token, and nobody shifts anything"
        if shifted
        else f"{len(wrong):,} labels differ from the token at their place, the first {labels[place]:g} beside "
        f"{ids[place]:g}"
    )
    notes.add("bad-labels", f"{why}.", f"labels[{place}]")
    return False


def _padding(value: Mapping[str, Any], ids: Numbers, notes: Notes) -> tuple[int, int]:
    """Where the tokens that are no padding begin and end."""
    if value.get("attention_mask") is None:
        return 0, len(ids)
    mask = _numbers(value, "attention_mask", notes, len(ids))
    if mask is None:
        return 0, 0
    kept = np.flatnonzero(mask)
    first, last = (int(kept[0]), int(kept[-1]) + 1) if len(kept) else (0, 0)
    if last - first != len(kept) or not len(kept):
        notes.add("bad-tokens", "attention_mask hides tokens in the middle, or all of them.", "attention_mask")
    return first, last


def _beginnings(value: Mapping[str, Any], ids: Numbers, notes: Notes) -> list[int]:
    """Where further examples begin in a row that holds several."""
    if value.get("position_ids") is None:
        return []
    positions = _numbers(value, "position_ids", notes, len(ids))
    return [] if positions is None else np.flatnonzero(positions == 0).tolist()


TOKENIZED = Format(
    name="tokenized",
    about='token ids: {"input_ids": […], "labels": […]}, or with weights or a mask',
    required=("input_ids",),
    optional=("labels", *WEIGHTS, "attention_mask", "position_ids", "weight"),
    recognise=_recognise,
    examples=_examples,
)
