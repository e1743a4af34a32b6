"""Classification: a text and the name of its class → a question and its answer.

The decision: the class name *is* the answer, as it is written; what the classes are is the business of the system
message (`data.system`). A class that is only a number is warned of, because the model cannot know what it means.
"""

from collections.abc import Mapping
from typing import Any

from tunesmith.data.example import Message
from tunesmith.data.formats.conversation import conversation
from tunesmith.data.formats.format import Format, Notes, Outcome, text_field
from tunesmith.data.records import Record

LABELS = ("label", "label_text", "category", "intent", "class")


def _label_field(value: Mapping[str, Any]) -> str | None:
    """The field with the class: a name before a number."""
    present = [name for name in LABELS if value.get(name) is not None]
    named = [name for name in present if isinstance(value[name], str)]
    return next(iter(named or present), None)


def _recognise(value: Mapping[str, Any]) -> bool:
    return isinstance(value.get("text"), str) and any(name in value for name in LABELS)


def _examples(record: Record) -> Outcome:
    value, notes = record.value, Notes(record.origin)
    text, field = text_field(value, "text", notes), _label_field(value)
    label = value[field] if field else None
    if isinstance(label, bool | int) and field:
        notes.add("numeric-label", f"the class is {label!r}, which says nothing to the model.", field)
    elif field:
        label = text_field(value, field, notes)
    else:
        notes.add("missing-field", f"the record has no class; expected a field {' or '.join(LABELS)}.", "label")
    if notes.stopped:
        return notes.outcome()
    turns = [Message("user", text), Message("assistant", str(label))]
    return conversation(turns, notes, at=field or "label", places=("text", field or "label"))


CLASSIFICATION = Format(
    name="classification",
    about='a text and its class: {"text": …, "label": …}; also category, intent, class',
    required=("text", "label"),
    optional=(),
    recognise=_recognise,
    examples=_examples,
)
