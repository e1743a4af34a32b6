"""What a run measures of itself: its base before the first step, the model on the way, and the chosen one at the end.

The decision: one place holds the order. What is measured of the base comes while the model still is its base, and is
kept in the run folder; what is reported is measured of the weights that are used, once they stand in the model.
"""

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from tunesmith.run import folder as places
from tunesmith.run.gains import Gains, gains
from tunesmith.run.keeping import Choice, interpolated, tell
from tunesmith.run.opened import Say
from tunesmith.run.prepare import Prepared, Ready
from tunesmith.run.report import joules, report
from tunesmith.run.retention import Watch, watch
from tunesmith.run.showing import answers, keep_samples
from tunesmith.run.validating import Numbers, Validation
from tunesmith.training import durable
from tunesmith.training.loop import Outcome


@dataclass(slots=True)
class Measures:
    """All that is measured of a run; `numbers` and `baseline` are there where it has validation data."""

    prepared: Prepared
    ready: Ready
    folder: Path
    numbers: Validation | None
    baseline: Numbers | None
    gained: Gains | None
    watcher: Watch | None
    began: float
    used: float | None
    _seen: int = 0  # the step whose model was validated last

    @classmethod
    def begin(cls, prepared: Prepared, ready: Ready, folder: Path, say: Say) -> "Measures":
        """Called before the first step. Of a resumed run, the base's numbers are those that it had."""
        began, used = time.perf_counter(), joules()
        held = prepared.sets.validation
        numbers = Validation(prepared, ready, held) if held else None
        baseline = _baseline(folder, numbers) if numbers is not None else None
        gained = gains(prepared, ready, folder, numbers, say)
        return cls(prepared, ready, folder, numbers, baseline, gained, watch(prepared, ready, folder, say), began, used)

    def validate(self, step: int) -> Numbers:
        """What the journal tells of the model after `step`."""
        assert self.numbers is not None
        self._seen = step
        lost = self.watcher.at(self.ready.probe.network, step) if self.watcher is not None else {}
        return {**self.numbers(), **lost}

    def mixed(self) -> Choice | None:
        """Leave the model at the mixture with its base that the recipe asks for; None where it asks for none."""
        if self.prepared.recipe.keeping.interpolate == "off" or self.numbers is None or self.baseline is None:
            return None
        return interpolated(self.prepared, self.ready, self.numbers, self.baseline, self.watcher)

    def end(self, outcome: Outcome, choice: Choice | None) -> dict[str, Any]:
        """The report of the model as it is now: that of the best step, else of the last, or the mixture `choice`."""
        numbers, chosen = self.numbers, outcome.state.best_step or outcome.state.step
        now = numbers() if numbers is not None and (choice or (numbers.asks and self._seen != chosen)) else None
        told = self.gained.end() if self.gained is not None else None
        kept = self.watcher.end(self.prepared, self.ready) if self.watcher is not None else None
        seconds = time.perf_counter() - self.began
        found: dict[str, Any] = report(self.prepared, self.ready, outcome, self.folder, self.baseline, seconds)
        found |= {"gains": told, "retention": kept, "joules": self._joules()}
        if numbers is not None:
            found |= answers(self.folder, numbers.items)
        if choice is not None and now is not None:
            tell(found, choice, now)
        return found

    def _joules(self) -> int | None:
        """What was used since the beginning; a counter that has started anew in between says nothing."""
        now = joules()
        return round(now - self.used) if now is not None and self.used is not None and now >= self.used else None


def _baseline(folder: Path, numbers: Validation) -> Numbers:
    """What was measured before the first step; of a resumed run, what it was."""
    found: Any = durable.read_sealed(folder / places.BASELINE)
    if found is None:
        found = dict(numbers())
        durable.write_sealed(folder / places.BASELINE, found)
        keep_samples(folder, numbers.items)
    return cast(Numbers, found)
