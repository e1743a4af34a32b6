"""What speakers said, kept as it is said: a judging that was stopped goes on where it stopped.

The decision: a text is found again by who said it and to which conversation, word for word. A verdict is therefore
taken over only from the same judge, on the same prompt and the same answers; whatever else changed is asked anew.
"""

import hashlib
import json
import os
from collections.abc import Sequence
from pathlib import Path

from tunesmith.data.example import Message
from tunesmith.errors import DataError
from tunesmith.evaluation.judging import Judge

AT_ONCE = 32
"""Conversations that are answered before what was said is written down."""


class Said:
    """The texts in a file of JSON lines (`key`, `by`, `asked`, `said`); without a file, in memory alone.

    Raises:
        DataError: a line of the file is none of these. A last line that was cut off is asked again.
    """

    def __init__(self, path: Path | None = None) -> None:
        self._path = path
        self._texts = _read(path) if path is not None and path.is_file() else {}
        self.taken = 0

    def by(self, who: str, speak: Judge) -> Judge:
        """The same speaker, who is asked only what `who` did not yet answer.

        `who` has to be another whenever the same conversation may be answered otherwise.
        """

        def answers(asked: Sequence[Sequence[Message]]) -> list[str]:
            keys = [_key(who, messages) for messages in asked]
            self.taken += sum(key in self._texts for key in keys)
            missing = list({key: place for place, key in enumerate(keys) if key not in self._texts}.values())
            for start in range(0, len(missing), AT_ONCE):
                some = missing[start : start + AT_ONCE]
                self._keep(who, [(keys[i], asked[i]) for i in some], speak([asked[i] for i in some]))
            return [self._texts[key] for key in keys]

        return answers

    def _keep(self, who: str, asked: Sequence[tuple[str, Sequence[Message]]], said: Sequence[str]) -> None:
        self._texts |= {key: text for (key, _), text in zip(asked, said, strict=True)}
        if self._path is None:
            return
        with self._path.open("a", encoding="utf-8") as file:
            for (key, messages), text in zip(asked, said, strict=True):
                told = [{"role": message.role, "content": message.content} for message in messages]
                file.write(json.dumps({"key": key, "by": who, "asked": told, "said": text}) + "\n")
            file.flush()
            os.fsync(file.fileno())


def _key(who: str, messages: Sequence[Message]) -> str:
    said = json.dumps([who, *([message.role, message.content] for message in messages)])
    return hashlib.sha256(said.encode()).hexdigest()


def _read(path: Path) -> dict[str, str]:
    """The texts by key. What stands behind the last whole line was cut off by whatever ended the writing, and goes."""
    data = path.read_bytes()
    whole = data.rfind(b"\n") + 1
    if whole < len(data):
        os.truncate(path, whole)
    found = {}
    for number, line in enumerate(data[:whole].splitlines(), start=1):
        try:
            raw = json.loads(line)
            found[str(raw["key"])] = str(raw["said"])
        except (ValueError, LookupError, TypeError) as error:
            raise DataError(
                f"{path}:{number}: nothing that was said here ({error!r}). Take the line out to ask it again."
            ) from error
    return found
