"""What `data check` found in a job's file, in the words of the API.

The decision: the check is the ordinary command in a child process, so a file that eats memory or time harms nobody,
and every bad line is told, up to a cap.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

SHOWN = 50


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether a file can be used, how many examples it gives, and else what is wrong with it."""

    examples: int
    error: Mapping[str, Any] | None = None
    lines: tuple[str, ...] = ()


def judge(param: str, code: int, printed: Path, console: Path) -> Verdict:
    """The verdict on a file, from what the check printed and how it ended."""
    try:
        found = json.loads(printed.read_text(encoding="utf-8"))
    except ValueError:
        found = None
    if not isinstance(found, dict):
        said = last_error(console) or f"the check ended with code {code}"
        kind = "invalid_file_format" if code in (2, 3) else "server_error"
        return Verdict(0, _error(param, kind, said))
    stops = set(found["stops"])
    if code == 0 and not stops:
        return Verdict(found["examples"])
    bad = [f for f in found["findings"] if f["name"] in stops and f["name"] != "too-few"]
    lines = tuple(_line(finding) for finding in bad[:SHOWN])
    if not bad:
        return Verdict(found["examples"], _error(param, "invalid_n_examples", _few(param, found["examples"])))
    total = sum(found["totals"].get(name, 0) for name in stops - {"too-few"})
    more = f" ({total - 1} more such records are told in the events)" if total > 1 else ""
    return Verdict(found["examples"], _error(param, "invalid_training_file", f"{lines[0]}{more}"), lines)


def last_error(console: Path) -> str | None:
    """The sentence with which a command ended."""
    lines = console.read_text(encoding="utf-8", errors="replace").splitlines() if console.is_file() else []
    at = next((i for i in reversed(range(len(lines))) if lines[i].startswith("Error: ")), None)
    return None if at is None else "\n".join(lines[at:])[7:2000]


def _error(param: str, code: str, reason: str) -> dict[str, Any]:
    kind = param.removesuffix("_file")
    return {"code": code, "param": param, "message": f"The job failed due to an invalid {kind} file. {reason}"}


def _few(param: str, examples: int) -> str:
    kind = param.removesuffix("_file").capitalize()
    return f"{kind} file has {examples} example(s), but must have at least 10 examples"


def _line(finding: Mapping[str, Any]) -> str:
    where = f"Line {finding['line']}" if finding["line"] is not None else "The file"
    path = f", {finding['path']}" if finding["path"] else ""
    return f"{where}{path}: {finding['message']}"
