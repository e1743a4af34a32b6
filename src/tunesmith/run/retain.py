"""`retain`: a small study of the ways to keep what a base model can, on one recipe, and the point to take.

The decision: each way is an ordinary run in a folder of its own, so the study stops and goes on as runs do, and what it
recommends is a recipe that can be trained as it stands. A point is a pair: what the task's metric gained, and what
general text lost. Recommended is the run that lost least among those that kept nearly all of the gain.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import orjson

from tunesmith.errors import UsageError
from tunesmith.recipe import Loaded, load_recipe
from tunesmith.run import folder as places
from tunesmith.run.continuing import prove_asked_the_same
from tunesmith.run.opened import Say, to_stderr
from tunesmith.run.pareto import Point, page, recommended
from tunesmith.run.prepare import prepare
from tunesmith.run.report import changes as numbers_of
from tunesmith.run.retention import LEAST, planned
from tunesmith.run.train import train
from tunesmith.run.validating import higher_is_better
from tunesmith.training import durable
from tunesmith.training.settings import USUAL_RATE

STUDY, PAGE = "retain.json", "retain.html"
LOW = 0.2
"""The low learning rate, beside that of the recipe."""
WAYS: Mapping[str, tuple[str, ...]] = {
    "plain": (),
    "low-rate": ("training.learning_rate={low}",),
    "replay": ("keeping.replay=0.2",),
    "kl": ("keeping.kl=0.1",),
    "replay-kl": ("keeping.replay=0.2", "keeping.kl=0.1"),
    "l2-sp": ("keeping.l2_sp=0.1",),
    "ewc": ("keeping.ewc=1.0",),
    "dft": ("training.token_weighting=probability",),
    "eaft": ("training.token_weighting=entropy",),
    "interpolate": ("keeping.interpolate=whole",),
    "layers": ("keeping.interpolate=layers",),
    "replay-interpolate": ("keeping.replay=0.2", "keeping.interpolate=whole"),
    "rewrite": ("keeping.rewrite=true",),
    "lora": ("method={{kind: lora}}", "training.learning_rate=2e-4"),
    "frozen": ("method={{kind: frozen}}",),
}
"""What each way says beside the recipe."""
USUAL = ("plain", "low-rate", "replay", "kl", "interpolate", "replay-interpolate", "eaft")
"""The ways that a study tries unless told otherwise."""


@dataclass(frozen=True, slots=True)
class Study:
    """The points of a study by the name of their way, and the name of the one to take."""

    metric: str
    points: Mapping[str, Point]
    recommended: str

    def as_dict(self) -> dict[str, Any]:
        """`{metric, recommended, points: {way: {before, value, lost, low, high, seconds, run}}}`."""
        return asdict(self)


def retain(
    recipe: str, changes: Sequence[str] = (), *, out: Path, ways: Sequence[str] = (), say: Say = to_stderr
) -> Study:
    """Train the recipe in each of the `ways` under `out`, going on where a study was interrupted.

    Writes `retain.json` and `retain.html` there.

    Raises:
        UsageError: a way that is not known, or a recipe whose runs would not say what was lost; nothing was trained.
    """
    chosen = tuple(dict.fromkeys(("plain", *(ways or USUAL))))
    for way in chosen:
        if way not in WAYS:
            raise UsageError(f"There is no way {way!r} to keep what a model can. Known: {', '.join(WAYS)}.")
    _require_measured(recipe, changes, [way for way in chosen if not places.is_started(out / way)])
    points: dict[str, Point] = {}
    metric = ""
    for way in chosen:
        loaded = _recipe(recipe, changes, way, out)
        metric = loaded.recipe.training.validation.metric
        say(f"\n== {way}: {', '.join(WAYS[way]) or 'the recipe as it is'}")
        points[way] = point(_finished(loaded) or train(loaded, resume="auto", say=say).report, way)
    name = recommended(points, higher=higher_is_better(metric))
    study = Study(metric, points, name)
    durable.write_text(out / STUDY, orjson.dumps(study.as_dict(), option=orjson.OPT_INDENT_2).decode() + "\n")
    durable.write_text(out / PAGE, page(study.metric, points, name, higher=higher_is_better(metric)))
    return study


def _require_measured(recipe: str, changes: Sequence[str], ways: Sequence[str]) -> None:
    """Return only if runs in these `ways` will measure what they lose.

    What a run affords depends on its method, so one of each is prepared, without what keeping would compute first.

    Raises:
        UsageError: they will not; says what to set.
    """
    for said in dict.fromkeys(tuple(c for c in WAYS[way] if c.startswith("method=")) for way in ways):
        loaded = load_recipe(recipe, [*changes, *(change.format() for change in said)])
        settings = loaded.recipe.retention
        if settings.text == "off":
            raise UsageError("retain: retention.text is off, so no run says what it lost. Set it to auto or to a file.")
        prepared = prepare(loaded, lambda _: None)
        if not prepared.sets.validation:
            raise UsageError(
                "retain: there are no validation data, so no run says what it gained. Set data.validation."
            )
        if not planned(prepared).general:
            raise UsageError(
                f"retain: a run of method.kind={loaded.recipe.method.kind} is too short to measure what it loses: "
                f"retention.share={settings.share:g} of its work affords fewer than {LEAST} tokens of general text. "
                "Set retention.share higher (up to 1), or train longer (training.steps)."
            )


def _finished(loaded: Loaded) -> dict[str, Any] | None:
    """The report of the run that the recipe names, if it has ended.

    Raises:
        CheckpointError: it is another run than the recipe asks for.
    """
    folder = Path(loaded.recipe.run or "")
    report = places.finished(folder)
    if report is not None:
        prove_asked_the_same(folder, loaded, ())
    return report


def point(report: Mapping[str, Any], way: str) -> Point:
    """What a finished run gained and lost.

    Raises:
        UsageError: it was trained without measuring what it lost, or its validation measured nothing.
    """
    kept = (report.get("retention") or {}).get("general")
    if kept is None or report["validation_loss"]["best"] is None:
        raise UsageError(
            f"{report['run']}: {way} says nothing of what was lost. Set data.validation, and retention.share=1 where "
            "the run is short; then move this run away, for it is not measured afterwards."
        )
    numbers = numbers_of(report)[report["metric"]]
    lost = kept["forgotten"]
    return Point(
        numbers["before"], numbers["best"], lost["value"], lost["low"], lost["high"],
        report["training_seconds"], report["run"],
    )  # fmt: skip


def _recipe(recipe: str, changes: Sequence[str], way: str, out: Path) -> Loaded:
    """The recipe with what a way says, as a run in a folder of its own."""
    first = load_recipe(recipe, changes).recipe
    rate = first.training.learning_rate or USUAL_RATE[first.method.kind]
    said = [change.format(low=LOW * rate) for change in WAYS[way]]
    return load_recipe(recipe, [*changes, *said, f"run={out / way}"])
