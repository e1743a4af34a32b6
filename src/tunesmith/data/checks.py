"""Finding: something worth telling about the data, and the way every room makes one.

The decision: a finding's level, meaning and remedy stand once, in `kinds.py`; whoever finds something names its kind
and says what is true of this record. A finding at level `stop` that stands at a record means that the record gives
no example, so counting them is the balance sheet.
"""

from collections import Counter
from collections.abc import Container, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Literal

from tunesmith.data.example import Origin
from tunesmith.data.kinds import KINDS, Level


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing found: its kind, where it stands, and what is wrong there in one sentence.

    `line` is counted from 1 and None where the whole file is meant; `path` is the place inside the record
    (`messages[2].content`); `other` is the example that this one repeats, contradicts or gives away.
    """

    name: str
    level: Level
    message: str
    file: str
    line: int | None
    path: str | None = None
    other: Origin | None = None

    def __str__(self) -> str:
        place = self.file if self.line is None else f"{self.file}:{self.line}"
        return f"{place}: {self.message}"


def find(name: str, message: str, origin: Origin, path: str | None = None, other: Origin | None = None) -> Finding:
    """A Finding of a known kind at a record, with the level that the table of kinds gives it."""
    return Finding(name, KINDS[name].level, message, origin.file, origin.line, path, other)


def find_in_file(name: str, message: str, file: str, line: int | None = None) -> Finding:
    """A Finding about a file, or about a line that gave no record."""
    return Finding(name, KINDS[name].level, message, file, line)


Answer = Literal["stop", "drop"]


def stopping(
    findings: Iterable[Finding], *, on_bad_record: Answer, on_no_target: Answer, allow: Container[str] = ()
) -> tuple[Finding, ...]:
    """The findings that stop a run under these settings; `allow` names those that do not."""
    answers: Mapping[str | None, Answer] = {
        "data.on_bad_record": on_bad_record,
        "data.on_no_target": on_no_target,
        None: "stop",
    }
    stops = (f for f in findings if f.level == "stop" and f.name not in allow)
    return tuple(f for f in stops if answers[KINDS[f.name].setting] == "stop")


@dataclass(slots=True)
class Findings:
    """Findings being collected: the first `cap` of each kind are kept, and all are counted."""

    cap: int = 1000
    kept: list[Finding] = field(default_factory=list)
    totals: Counter[str] = field(default_factory=Counter)

    def add(self, finding: Finding) -> None:
        self.totals[finding.name] += 1
        if self.totals[finding.name] <= self.cap:
            self.kept.append(finding)
