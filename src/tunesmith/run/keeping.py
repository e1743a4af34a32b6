"""What of the base model a run is drawn towards, made before its first step, and how far back it goes after the last.

The decision: everything here follows from the recipe and the base alone, so a resumed run makes it again and gets the
same. Going back happens once, when training has ended, and gives weights of their own (`kept/`): a run that is resumed
after it chooses again from what was trained.
"""

from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

from pydantic import JsonValue

from tunesmith.models.forward import Network
from tunesmith.models.load import load_model
from tunesmith.models.probe import probe
from tunesmith.models.settings import Lora
from tunesmith.run.opened import Say
from tunesmith.run.prepare import DTYPES, Prepared, Ready
from tunesmith.run.replaying import pool
from tunesmith.run.report import changes
from tunesmith.run.retention import Watch
from tunesmith.run.validating import Numbers, higher_is_better
from tunesmith.training.anchor import anchored, fisher
from tunesmith.training.averaging import SHARES, THIRDS, Between
from tunesmith.training.divergence import Toward
from tunesmith.training.loop import NO_BASE, Base
from tunesmith.training.step import Pass

INFORMING = 64
"""Texts from which the Fisher information is taken."""


def base_of(prepared: Prepared, ready: Ready, say: Say) -> Base:
    """What the steps of this run are drawn towards. Called before the first, while the model is its base."""
    recipe = prepared.recipe
    keeping, network = recipe.keeping, ready.probe.network
    if not (keeping.kl or keeping.l2_sp or keeping.ewc):
        return NO_BASE
    toward = anchor = None
    if keeping.kl:
        toward = Toward(keeping.kl, None if isinstance(recipe.method, Lora) else second(prepared, network, say))
    if keeping.l2_sp or keeping.ewc:
        information = {}
        if keeping.ewc:
            texts = pool(recipe, prepared.encoder, prepared.source, say)[:INFORMING]
            how = Pass(recipe.training.micro_batch_tokens or 1, sharing=False)
            information = fisher(network, ready.applied.trainable, texts, how)
            say(f"ewc: the Fisher information of every trained weight, from {len(texts)} texts")
        anchor = anchored(
            ready.model, ready.applied.trainable, l2=keeping.l2_sp, ewc=keeping.ewc, information=information
        )
    return Base(toward, anchor)


def second(prepared: Prepared, network: Network, say: Say) -> Network:
    """The base once more in memory, frozen, on the device of the first."""
    say("kl: without an adapter to turn off, the base stands in memory a second time")
    model: Any = load_model(prepared.source.folder, dtype=DTYPES[prepared.recipe.training.dtype])
    model.requires_grad_(False)
    return probe(model.to(network.device), longest=prepared.sets.longest).network


@dataclass(frozen=True, slots=True)
class Point:
    """A mixture of base and tuned: the share of the tuned in each part, its task metric, its loss on general text."""

    shares: tuple[float, ...]
    value: float
    general: float | None


@dataclass(frozen=True, slots=True)
class Choice:
    """The mixtures that were tried, and the one chosen. The base itself stands last: it is measured, never chosen."""

    chosen: Point
    tried: tuple[Point, ...]

    def as_dict(self) -> dict[str, JsonValue]:
        """`{chosen, tried: [{shares, value, general}]}`."""
        return {"chosen": asdict(self.chosen), "tried": [asdict(point) for point in self.tried]}


def interpolated(
    prepared: Prepared, ready: Ready, numbers: Callable[[], Numbers], baseline: Numbers, watcher: Watch | None
) -> Choice:
    """Put the model, trained, at the mixture with its base that the recipe asks for."""
    recipe, network = prepared.recipe, ready.probe.network
    metric = recipe.training.validation.metric
    start = {}
    if not isinstance(recipe.method, Lora):
        model: Any = load_model(prepared.source.folder, dtype=DTYPES[recipe.training.dtype])
        start = dict(model.named_parameters())

    def measure() -> tuple[float, float | None]:
        return float(numbers()[metric]), watcher.now(network) if watcher is not None else None

    return go_back(
        Between(ready.applied.trainable, start),
        measure,
        before=baseline[metric],
        higher=higher_is_better(metric),
        cost=recipe.keeping.cost,
        layers=recipe.keeping.interpolate == "layers",
    )


def tell(report: dict[str, Any], choice: Choice, now: Numbers) -> None:
    """What was reported of the best checkpoint is that of the mixture that the model is `now`."""
    report["interpolation"] = choice.as_dict()
    for name, change in changes(report).items():
        change["best"] = now[name]


Measure = Callable[[], tuple[float, float | None]]
"""The task metric, and the loss on general text where there is any, of the model as it is now."""


def go_back(between: Between, measure: Measure, *, before: float, higher: bool, cost: float, layers: bool) -> Choice:
    """Leave the model at the mixture that lost least among those that give up no more than `cost` of the gain.

    WiSE-FT (Wortsman et al., 2021, https://arxiv.org/abs/2109.01903) with its share chosen on the validation set; with
    `layers`, then each third of the layers by itself (heterogeneous averaging, Lin et al., 2023,
    https://arxiv.org/abs/2309.06256), from the last one to the first. `before` is the metric of the base.
    """
    sign = 1.0 if higher else -1.0

    def at(shares: tuple[float, ...]) -> Point:
        between.set(shares)
        value, general = measure()
        return Point(shares, value, general)

    tuned = at((1.0,) * THIRDS)
    tried = [tuned]
    least = sign * tuned.value - cost * max(0.0, sign * (tuned.value - before))

    def better(point: Point, than: Point) -> bool:
        if sign * point.value < least:
            return False
        if point.general is None or than.general is None:
            return sum(point.shares) < sum(than.shares)
        return point.general < than.general

    chosen = tuned
    for share in SHARES:
        tried.append(at((share,) * THIRDS))
        chosen = tried[-1] if better(tried[-1], chosen) else chosen
    for part in reversed(range(THIRDS if layers else 0)):
        for share in [share for share in (0.0, *SHARES) if share != chosen.shares[part]]:
            tried.append(at((*chosen.shares[:part], share, *chosen.shares[part + 1 :])))
            chosen = tried[-1] if better(tried[-1], chosen) else chosen
    tried.append(at((0.0,) * THIRDS))
    between.set(chosen.shares)
    return Choice(chosen, tuple(tried))
