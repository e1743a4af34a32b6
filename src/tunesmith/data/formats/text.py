"""Plain text: a text file, or records with nothing to learn but `text`.

The decision: no chat template is applied; every token is learned, exactly once.
"""

from collections.abc import Mapping
from typing import Any

from tunesmith.data.example import Passage
from tunesmith.data.formats.conversation import check_characters
from tunesmith.data.formats.format import Format, Notes, Outcome, text_field
from tunesmith.data.records import Record


def _recognise(value: Mapping[str, Any] | str) -> bool:
    return isinstance(value, str) or isinstance(value.get("text"), str)


def _examples(record: Record) -> Outcome:
    notes = Notes(record.origin)
    text = record.value if isinstance(record.value, str) else text_field(record.value, "text", notes)
    if not notes.stopped and not text.strip():
        notes.add("empty-text", "the text is empty or only white space.", "text")
    check_characters(text, "text", notes)
    return notes.outcome(Passage(text, record.origin))


TEXT = Format(
    name="text",
    about='plain text, learned as it stands: .txt, .md or {"text": …}',
    required=("text",),
    optional=(),
    recognise=_recognise,
    examples=_examples,
)
