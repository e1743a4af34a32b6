"""`retain`: a small study of the ways to keep what a base model can, on one recipe, and the point to take.

The decision: each way is an ordinary run in a folder of its own, so the study stops and goes on as runs do, and what it
recommends is a recipe that can be trained as it stands. A point is a pair: what the task's metric gained, and what
general text lost. Plain fine-tuning is trained first, because what it loses says where the low learning rate has to
stop.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import orjson

from tunesmith.errors import UsageError
from tunesmith.recipe import Loaded, load_recipe
from tunesmith.run import folder as places
from tunesmith.run.continuing import prove_asked_the_same
from tunesmith.run.level import compared
from tunesmith.run.opened import Say, to_stderr
from tunesmith.run.pareto import Point, Study, advise, best
from tunesmith.run.prepare import Prepared, prepare
from tunesmith.run.report import changes as numbers_of
from tunesmith.run.retain_page import page
from tunesmith.run.retention import LEAST, planned
from tunesmith.run.train import train
from tunesmith.run.validating import higher_is_better
from tunesmith.training import durable
from tunesmith.training.settings import USUAL_RATE

STUDY, PAGE = "retain.json", "retain.html"
LOW = 0.2
"""The low learning rate, beside that of the recipe."""
STOP, LEAST_STOP = 0.5, 0.01
"""The share of what plain fine-tuning lost at which the low learning rate stops, and the fewest nats per token."""
NEVER_WITHIN = "left out: every validation had lost more than keeping.most_lost allows, so there is no best checkpoint"
WAYS: Mapping[str, tuple[str, ...]] = {
    "plain": (),
    "low-rate": ("training.learning_rate={low}", "keeping.most_lost={stop}"),
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
    reports: dict[str, Mapping[str, Any]] = {}
    for way in chosen:
        stop = point(reports["plain"], "plain").lost * STOP if reports else 0.0
        said = _said(recipe, changes, way, max(LEAST_STOP, stop))
        say(f"\n== {way}: {', '.join(said) or 'the recipe as it is'}")
        loaded = load_recipe(recipe, [*changes, *said, f"run={out / way}"])
        reports[way] = _finished(loaded) or train(loaded, resume="auto", say=say).report
    study = _study(reports, cache(lambda: prepare(load_recipe(recipe, changes), lambda _: None)), say)
    durable.write_text(out / STUDY, orjson.dumps(study.as_dict(), option=orjson.OPT_INDENT_2).decode() + "\n")
    durable.write_text(out / PAGE, page(study))
    return study


def _study(reports: Mapping[str, Mapping[str, Any]], prepared: Callable[[], Prepared], say: Say) -> Study:
    """The points of finished runs, and the way to take. `prepared` gives the validation set that they share."""
    left_out = {way: NEVER_WITHIN for way in reports if way != "plain" and _chose_none(reports[way])}
    points = {way: point(report, way) for way, report in reports.items() if way not in left_out}
    metric = str(reports["plain"]["metric"])
    higher = higher_is_better(metric)
    runs = {way: Path(one.run) for way, one in points.items()}
    found = compared(runs, best(points, higher=higher), metric, prepared, say)
    advice = advise(points, found, higher=higher)
    return Study(metric, higher, points, advice, left_out, _sweeps(reports, points))


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


def _chose_none(report: Mapping[str, Any]) -> bool:
    """Whether every validation of the run had lost more than `keeping.most_lost` allows."""
    return report["best_step"] == 0 and report["validation_loss"]["best"] is None


def _sweeps(reports: Mapping[str, Mapping[str, Any]], points: Mapping[str, Point]) -> dict[str, Any]:
    """The mixtures of base and tuned that runs tried, where the base itself was measured too."""
    tried = {way: (reports[way].get("interpolation") or {}).get("tried") or [] for way in points}
    return {
        way: [{**mixture, "shares": [*mixture["shares"]]} for mixture in mixtures]
        for way, mixtures in tried.items()
        if mixtures and not any(mixtures[-1]["shares"])
    }


def point(report: Mapping[str, Any], way: str) -> Point:
    """What a finished run gained and lost.

    Raises:
        UsageError: it was trained without measuring what it lost, or its validation measured nothing.
    """
    if _chose_none(report):
        raise UsageError(f"{report['run']}: {way} is {NEVER_WITHIN}. Raise it, or lower training.learning_rate.")
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


def _said(recipe: str, changes: Sequence[str], way: str, stop: float) -> list[str]:
    """What a way says beside the recipe. `stop` is what a low learning rate may lose, in nats per token."""
    first = load_recipe(recipe, changes).recipe
    rate = first.training.learning_rate or USUAL_RATE[first.method.kind]
    return [change.format(low=LOW * rate, stop=f"{stop:.4g}") for change in WAYS[way]]
