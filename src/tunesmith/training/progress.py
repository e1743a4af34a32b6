"""What a run says while it trains: a line that renews itself on a terminal, a plain line now and then elsewhere.

The decision: everything is computed from journal entries, never from a clock, so what is said can be tested and a
resumed run says the same. All of it also goes to console.log, without the colours.
"""

from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from rich.console import Console
from rich.progress import BarColumn, TextColumn
from rich.progress import Progress as Bar

EVERY = 10.0
"""Seconds of training between two plain lines."""


class Progress:
    """Tells the way of a run of `total` steps on stderr and in the file `log`; a context manager."""

    def __init__(self, total: int, log: Path, *, console: Console | None = None) -> None:
        self.total = total
        self._console = console or Console(stderr=True, highlight=False)
        self._log = log.open("a", encoding="utf-8", buffering=1)
        self._bar = Bar(
            TextColumn("{task.description}"), BarColumn(), console=self._console, auto_refresh=False, transient=True
        )
        self._task = self._bar.add_task("", total=total)
        self._pace = 0.0  # seconds a step, smoothed
        self._unsaid = 0.0  # seconds of training since the last plain line

    def __enter__(self) -> Self:
        if self._console.is_terminal:
            self._bar.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        if self._console.is_terminal:
            self._bar.stop()
        self._log.close()

    def say(self, text: str) -> None:
        """`text` stands on the terminal, above the line that renews itself, and in the log."""
        self._console.print(text, markup=False, soft_wrap=True)
        self._log.write(text + "\n")

    def step(self, entry: Mapping[str, Any]) -> None:
        """A step is done; `entry` is its line of the journal (`step`, `loss`, `tokens`, `seconds`, validation…)."""
        seconds = float(entry["seconds"])
        self._pace = 0.9 * self._pace + 0.1 * seconds if self._pace else seconds
        self._unsaid += seconds
        line = self._line(entry)
        measured = [
            f"{key} {value:.4f}"
            for key, value in entry.items()
            if key.startswith(("validation_", "task_", "retention_"))
        ]
        if measured:
            self.say(f"step {entry['step']}: {', '.join(measured)}")
        if self._console.is_terminal:
            self._bar.update(self._task, completed=entry["step"], description=line)
            self._bar.refresh()
        if self._unsaid >= EVERY or entry["step"] == self.total:
            self._unsaid = 0.0
            self._log.write(line + "\n")
            if not self._console.is_terminal:
                self._console.print(line, markup=False, soft_wrap=True)

    def _line(self, entry: Mapping[str, Any]) -> str:
        loss = "not finite" if entry["loss"] is None else f"{entry['loss']:.4f}"
        rate = entry["tokens"] / max(float(entry["seconds"]), 1e-9)
        left = duration(self._pace * (self.total - entry["step"]))
        return f"step {entry['step']}/{self.total}  loss {loss}  {rate:,.0f} tokens/s  {left} left"


def duration(seconds: float) -> str:
    """Seconds for people.

    >>> [duration(seconds) for seconds in (0.2, 59.6, 3599, 3600, 90000)]
    ['0 s', '1 min 00 s', '59 min 59 s', '1 h 00 min', '25 h 00 min']
    """
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"
