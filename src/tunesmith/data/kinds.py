"""The table of everything that can be found in data: level, meaning, remedy.

The decision: names are part of the public surface (recipes and scripts may name them), so they are listed in one
place and never change; the reference page is generated from here. Levels: `stop` means that the record cannot be
used as it is, `warn` that it can but probably should not, `note` that nothing needs to be done.
"""

from dataclasses import dataclass
from typing import Literal

Level = Literal["stop", "warn", "note"]
BAD_RECORD = "data.on_bad_record"
NO_TARGET = "data.on_no_target"
MINIMUM = "data.minimum"


@dataclass(frozen=True, slots=True)
class Kind:
    """What a finding's name stands for. `setting` is the setting that drops such records instead of stopping."""

    level: Level
    meaning: str
    remedy: str
    setting: str | None = None


def _stop(meaning: str, remedy: str, setting: str | None = BAD_RECORD) -> Kind:
    return Kind("stop", meaning, remedy, setting)


def _warn(meaning: str, remedy: str) -> Kind:
    return Kind("warn", meaning, remedy)


def _note(meaning: str, remedy: str) -> Kind:
    return Kind("note", meaning, remedy)


FILES: dict[str, Kind] = {
    "byte-order-mark": _note("The file begins with a byte order mark.", "Nothing: it is not read as text."),
    "not-utf8": _stop("The bytes of this line are not UTF-8.", "Save the file as UTF-8."),
    "utf16": _warn("The file is UTF-16 or UTF-32, not UTF-8.", "It is read correctly; save it as UTF-8 for others."),
    "blank-line": _note("A line is empty.", "Nothing: it is skipped."),
    "line-too-long": _stop("One line is longer than 32 MiB.", "Split the record, or check for a missing line end."),
    "truncated-file": _stop("The compressed file ends in the middle or is damaged.", "Copy the file again.", None),
    "rest-not-read": _stop("The file is broken here and nothing behind it could be read.", "Repair it here.", None),
    "file-ignored": _note("A file of the folder was not read.", "Name it yourself if it belongs to the data."),
    "bad-json": _stop("The text is not valid JSON.", "Correct it at the column that the message names."),
    "not-a-number": _warn("NaN or Infinity stands where JSON has no such value.", "It is read as null; write null."),
    "json-as-text": _note("A field holds JSON written as text.", "Nothing: it is read as what it says."),
    "duplicate-key": _stop("One object has the same key twice, so its value is ambiguous.", "Remove one of them."),
    "huge-integer": _warn("An integer does not fit in 64 bits; most programs would round it.", "Write it as a string."),
    "deep-nesting": _stop("The JSON is nested more than 200 levels deep.", "Check how the record was written."),
    "lone-surrogate": _stop("Half of a surrogate pair stands alone: not a character.", "Write the text out anew."),
    "not-an-object": _stop("The record is not a JSON object.", "Write one object, {...}, for each record."),
    "ragged-row": _stop("The row has another number of cells than the header.", "Quote cells that hold a comma."),
    "bad-csv": _stop("The row is not valid CSV.", "Correct the quotes around the cell."),
    "delimiter": _note("The file is not delimited by what its name says.", "Nothing: the delimiter was recognised."),
}

RECORDS: dict[str, Kind] = {
    "mixed-formats": _stop("The record has another format than the rest.", "Keep one format in each file."),
    "no-format": _stop("The record fits no known format.", "Compare its fields with those of its neighbours."),
    "missing-field": _stop("A field that the format needs is absent.", "Add it, or map another with data.fields."),
    "wrong-type": _stop("A field holds another type than the format needs.", "Write it as the message says."),
    "unknown-key": _warn("A key looks like a misspelled one that would count.", "Correct its spelling."),
    "unknown-role": _stop("A turn is spoken by nobody we know.", "Use system, developer, user, assistant or tool."),
    "role-alias": _warn("A role has another format's name.", "It is read as the role that the message names."),
    "empty-conversation": _stop("There is no turn at all.", "Remove the record."),
    "no-answer": _stop("There is no assistant turn, so nothing is learned.", "Add the answer.", NO_TARGET),
    "no-target": _stop("Every assistant turn has weight 0, so nothing is learned.", "Raise a weight.", NO_TARGET),
    "empty-answer": _stop("A learned turn is empty or only white space.", "Write the answer or remove the record."),
    "empty-turn": _warn("A turn that is read is empty or only white space.", "Check where its text went."),
    "empty-text": _stop("The text to learn is empty or only white space.", "Remove the record."),
    "ends-with-user": _warn("The last turns are no answer, so nothing is learned from them.", "Add the answer."),
    "starts-with-assistant": _warn("The conversation opens with an answer to nothing.", "Check for a lost turn."),
    "system-not-first": _warn("A system turn stands in the middle.", "Put it first; many templates refuse it."),
    "role-order": _warn("Two turns in a row have the same role.", "Join them; many templates refuse them."),
    "answer-whitespace": _note("An answer begins or ends with white space.", "Trim it, unless it is meant."),
    "placeholder-answer": _warn("The answer is only nan, None, null, TODO or the like.", "Write the answer."),
    "answer-repeats-prompt": _warn("The answer is the same text as the turn before it.", "Check for swapped columns."),
    "invisible-character": _warn(
        "The text holds characters that nobody sees (U+200B, U+FEFF, U+202E).", "Remove them."
    ),
    "nul-character": _warn("The text holds a NUL character.", "Remove it; it is a remnant of binary data."),
    "replacement-character": _warn("The text holds U+FFFD, where a character was lost.", "Decode the source anew."),
    "mojibake": _warn("The text looks like UTF-8 read as Latin-1 (Ã©, â€™).", "Decode the source as UTF-8."),
    "carriage-return": _warn("The text has Windows line ends, and the model would learn them.", "Write \\n instead."),
    "control-character": _warn("The text holds an escape or another control character.", "Remove it."),
    "bad-weight": _stop("A weight is not a number ≥ 0, or two flags of a turn contradict.", "Write a number."),
    "weight-not-on-assistant": _stop("A weight stands on a turn that is not the assistant's.", "Remove it there."),
    "bad-parts": _stop(
        "The parts of a turn that are to be learned cannot be used.", "Correct where they begin and end."
    ),
    "bad-tokens": _stop("Token ids, their weights or their mask cannot be used.", "Write as many of each, all ≥ 0."),
    "bad-labels": _stop(
        "A label is not the token at its place.", "Write the ids themselves, -100 for what is context."
    ),
    "all-learned": _note(
        "Ready tokens come without weights, so all are learned.", "Add labels where some are context."
    ),
    "unsupported-content": _stop("A turn holds an image, sound or file.", "Keep text alone."),
    "bad-tool-definition": _stop("A tool has no name or is no JSON object.", "Write it as OpenAI's functions."),
    "duplicate-tool": _warn("Two tools have the same name.", "Remove one of them."),
    "bad-tool-call": _stop("A tool call has no function name.", "Write id, type and function{name, arguments}."),
    "bad-arguments": _stop("The arguments of a tool call are not a JSON object.", "Correct them: they are learned."),
    "unknown-tool": _warn("A tool is called that the record does not define.", "Define it under `tools`."),
    "missing-argument": _warn("A tool call lacks an argument that its tool requires.", "Add the argument."),
    "duplicate-call-id": _warn("Two tool calls have the same id.", "Give each call its own."),
    "unanswered-tool-call": _warn("A tool call gets no result before the next turn.", "Add the tool's turn."),
    "orphan-tool-result": _warn("A tool's turn answers no call.", "Add the call, or correct tool_call_id."),
    "rejected-unused": _note("Only the preferred answer is learned.", "Nothing, for supervised training."),
    "not-on-a-path": _note("A message of a tree is not used.", "Nothing, unless tree:best or a language left it out."),
    "undesirable": _stop("The record shows what not to say.", "Use it for preference training.", NO_TARGET),
    "numeric-label": _warn("A class is named by a number, which says nothing to the model.", "Write its name."),
}

SETS: dict[str, Kind] = {
    "duplicate": _warn("The example stands twice.", "Remove one."),
    "near-duplicate": _warn("The example is nearly an earlier one.", "Compare them."),
    "conflicting-answers": _warn("One prompt has two different answers.", "Decide which is right."),
    "leak": _warn("A held-out prompt is also trained, so its score means little.", "Remove it from one of the two."),
    "near-leak": _warn(
        "A held-out prompt is nearly one that is trained.", "Remove it from training, or split by groups."
    ),
    "held-out-unread": _warn(
        "Records of the held-out data cannot be used, so nothing is compared with them.", "Correct them."
    ),
    "contamination": _warn("An example holds an item of a benchmark.", "Remove it, or do not report the benchmark."),
    "too-few": _stop("There are fewer examples than a run starts with.", "Add some, or lower the minimum.", MINIMUM),
    "imbalance": _warn("One answer is far more frequent than others.", "Balance it."),
    "rare-label": _note("A class has fewer than five examples.", "Add some, or expect it to be missed."),
    "refusal": _note("The answer refuses or speaks as an AI.", "Remove it unless the model should do the same."),
    "unfilled-placeholder": _warn("An answer holds a gap to be filled ({{name}}, [NAME]).", "Fill the gap."),
    "html-remains": _note("The text holds HTML entities or tags.", "Decode them, unless markup is meant."),
    "repetition": _warn("An answer says the same words over and over.", "Cut or remove it: a model learns to loop."),
    "embedded-binary": _warn("The text holds base64 data.", "Remove it; it is no text."),
    "personal-data": _warn("The text holds what looks like personal data or a key.", "Replace it before training."),
    "not-expressible": _warn("The form to be written cannot say the example.", "Write another form: messages."),
    "same-opening": _note("Most answers open with the same words.", "Nothing, if that is the task."),
}

KINDS: dict[str, Kind] = {**FILES, **RECORDS, **SETS}
