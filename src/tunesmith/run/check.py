"""`check`: everything that can be said of data before a run, and whether the run could start.

The decision: one pass over the files, in bounded memory, through the same readers, template, tokenizer and batches that
the run would use; so what is told here is what training would meet. Nothing is written, but for what a check of much
data has found so far, so that one that was interrupted goes on.
"""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from tunesmith.batches.order import steps_per_epoch
from tunesmith.data.benchmarks import benchmark
from tunesmith.data.checks import Finding, find_in_file
from tunesmith.data.example import AnyExample
from tunesmith.data.files import find_files, fingerprint
from tunesmith.data.inspection import Inspection, inspect
from tunesmith.data.settings import DataSettings
from tunesmith.data.split import prompt_key
from tunesmith.data.survey import Survey
from tunesmith.models.cache import home
from tunesmith.models.folder import is_adapter
from tunesmith.models.sources import resolve as resolve_source
from tunesmith.recipe import Loaded, load_recipe
from tunesmith.run.counting import Counting
from tunesmith.run.encoding import LARGE
from tunesmith.run.estimate import Estimate, Weights, Work, estimate
from tunesmith.run.facts import Facts, facts
from tunesmith.run.folder import is_started, weights_of
from tunesmith.run.resolve import resolve
from tunesmith.run.tally import FIRST
from tunesmith.tokens.builtin import BUILT_IN, missing_control_tokens
from tunesmith.tokens.encode import Encoder
from tunesmith.tokens.encoded import EncodedExample
from tunesmith.tokens.findings import KINDS, require_known
from tunesmith.tokens.show import Shown, shown
from tunesmith.tokens.tokenizer import Tokenizer

SAMPLES = 6
_VERSION = "2"
"""Raised whenever the same data may give other results of a portion."""


@dataclass(frozen=True, slots=True)
class Tokens:
    """Tokens of an epoch over all usable examples; `percentiles` of their lengths (p50, p90, p95, p99, max)."""

    total: int
    supervised: int
    computed_per_epoch: int
    percentiles: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class Check:
    """What was found. `read` records = `usable` + the sum of `dropped`; `usable` records give `examples` examples.

    `totals` counts all findings by name, beyond those that are kept. `stops` names the findings that keep a run with
    these settings from starting. `borders` are the conversations that one-shot tokenisation would write otherwise, and
    how many were compared; `lengths` counts examples by their tokens; `reading` is how the files were told to be read.
    """

    files: tuple[str, ...]
    model: str
    method: str
    batch_size: int
    format: str
    read: int
    usable: int
    examples: int
    dropped: Mapping[str, int]
    findings: tuple[Finding, ...]
    totals: Mapping[str, int]
    stops: tuple[str, ...]
    tokens: Tokens
    estimate: Estimate
    survey: Survey
    lengths: Mapping[int, int]
    borders: tuple[int, int]
    samples: tuple[Shown, ...]
    reading: Mapping[str, Any]

    def could_start(self, *, strict: bool = False) -> bool:
        """Whether a run could start; with `strict`, whether nothing warns either."""
        return not self.stops and not (strict and any(KINDS[name].level != "note" for name in self.totals))

    def as_dict(self) -> dict[str, Any]:
        """The JSON object of `data check --json`."""
        findings = [
            {"name": f.name, "level": f.level, "file": f.file, "line": f.line, "path": f.path, "message": f.message}
            for f in self.findings
        ]
        return {
            "files": list(self.files), "model": self.model, "method": self.method, "batch_size": self.batch_size,
            "format": self.format, "read": self.read, "usable": self.usable, "examples": self.examples,
            "dropped": dict(self.dropped), "findings": findings, "totals": dict(self.totals), "stops": list(self.stops),
            "tokens": {**asdict(self.tokens), "percentiles": dict(self.tokens.percentiles)},
            "shape": self.survey.as_dict(),
            "estimate": {name: value for name, value in asdict(self.estimate).items() if value is not None},
        }  # fmt: skip


@dataclass(frozen=True, slots=True)
class _Judge:
    """The model whose eyes the data are seen with."""

    name: str
    folder: Path
    facts: Facts
    encoder: Encoder


def check(
    files: Sequence[str],
    *,
    model: str | None = None,
    against: Sequence[str] = (),
    train_on: str | None = None,
    settings: Sequence[str] = (),
    price: float | None = None,
    tell: Callable[[int], object] = lambda count: None,
) -> Check:
    """What would happen if `files` were trained on, with `settings` of a recipe (`method.kind=full`).

    The one file may be a recipe: then its training data are checked, against its own validation and test files too.
    `against` are files that must not be trained on, or names of benchmarks. `price` is in dollars for a million tokens
    of the data, as services take them. `tell` is given the number of examples that have passed, now and then.

    Raises:
        DataError: a file is missing, empty, or fits no format.
        UsageError: there is no such model or setting.
    """
    chosen = {"model": model, "supervision.train_on": train_on}
    overrides = [*settings, *(f"{name}={value}" for name, value in chosen.items() if value is not None)]
    loaded = load_recipe(files[0], overrides)
    if len(files) == 1 and Path(files[0]).suffix in (".yaml", ".yml"):
        data = loaded.recipe.data
        files = [data.train] if isinstance(data.train, str) else data.train
        against = (*against, *(name for name in (data.validation, data.test) if isinstance(name, str)))
    require_known(loaded.recipe.data.allow)
    judge = _judge(loaded)
    context = judge.facts.context
    limit = min(loaded.recipe.supervision.max_length or context, context)
    counting = Counting(judge.encoder, limit, tell)
    found = inspect(
        files[0] if len(files) == 1 else tuple(files),
        options=_reading(loaded.recipe.data),
        against={name: name for name in against},
        beside=counting,
        kept=_kept(files, against, _reading(loaded.recipe.data), judge, limit),
    )
    checked = _summed(tuple(files), loaded, judge, found, counting)
    if price is None:
        return checked
    dollars = price * checked.tokens.total / 1e6
    return replace(checked, estimate=replace(checked.estimate, dollars_per_epoch=dollars))


def _kept(
    files: Sequence[str], against: Sequence[str], reading: Mapping[str, Any], judge: _Judge, limit: int
) -> Path | None:
    """Where a check of much data leaves what it has found so far; None for data that are soon checked again."""
    paths = [path for name in files for path in find_files(name)[0]]
    if sum(path.stat().st_size for path in paths) < LARGE:
        return None
    held_out = [_prompts(asked) if (asked := benchmark(name)) is not None else fingerprint(find_files(name)[0])
                for name in against]  # fmt: skip
    parts = (_VERSION, judge.encoder.fingerprint, str(limit), repr(sorted(reading.items())), repr(files), repr(against),
             fingerprint(paths), *held_out)  # fmt: skip
    return home() / "checks" / f"{hashlib.sha256(chr(0).join(parts).encode()).hexdigest()[:32]}.parts"


def _prompts(examples: Sequence[AnyExample]) -> str:
    return hashlib.sha256(b"".join(map(prompt_key, examples))).hexdigest()


def _reading(data: DataSettings) -> Mapping[str, Any]:
    return {"format": data.format, "fields": data.fields, "system": data.system}


def _judge(loaded: Loaded) -> _Judge:
    name, supervision = loaded.recipe.model, loaded.recipe.supervision
    run = Path(name)
    folder = weights_of(run)[0] if is_started(run) else resolve_source(name, revision=loaded.recipe.revision).folder
    base = _base(folder) if is_adapter(folder) else folder
    tokenizer = Tokenizer.load(folder if (folder / "tokenizer.json").is_file() else base)
    template = supervision.chat_template
    if template is None and tokenizer.chat_template is None:
        fitting = [name for name in BUILT_IN if not missing_control_tokens(BUILT_IN[name], tokenizer)]
        template = next((name for name in fitting if name != "plain"), fitting[0])
    encoder = Encoder(
        tokenizer, train_on=supervision.train_on, chat_template=template, max_length=supervision.max_length
    )
    return _Judge(name, base, facts(base), encoder)


def _base(folder: Path) -> Path:
    # What loads models takes half as long to import as everything else here, and few checks need it.
    from tunesmith.models.load import base_of

    return base_of(folder).folder


def _summed(files: tuple[str, ...], loaded: Loaded, judge: _Judge, found: Inspection, counting: Counting) -> Check:
    usable, tally = found.usable - counting.dropped.total(), counting.tally
    if loaded.recipe.training.threads is None:
        loaded = loaded.resolve("training.threads", 1, "nothing is computed")  # else torch would be asked
    shapes = judge.facts.shapes
    resolved = resolve(
        loaded,
        examples=max(tally.examples, 1),
        longest=counting.longest,
        validated=loaded.recipe.data.validation != 0,
        shapes=shapes,
        device="cpu",
    ).recipe
    size, budget = resolved.training.batch_size or 1, resolved.training.micro_batch_tokens or 1
    batched = counting.batched(batch_size=size, budget=budget, seed=resolved.seed, sharing=resolved.training.sharing)
    computed = round(batched.share * tally.total)
    totals = {**found.totals, **counting.findings.totals}
    findings = [*found.findings, *counting.findings.kept]
    if tally.examples < resolved.data.minimum:
        few = f"{tally.examples} usable examples, but a run starts with {resolved.data.minimum} or more."
        findings.append(find_in_file("too-few", few, files[0]))
        totals["too-few"] = 1
    steps = steps_per_epoch(max(tally.examples, size), size)
    work = Work(computed, tally.supervised, batched.most_at_once, steps)
    return Check(
        files=files, model=judge.name, method=resolved.method.kind, batch_size=size, format=found.format,
        read=found.read, usable=usable, examples=tally.examples,
        dropped=_added(found.dropped, counting.dropped),
        findings=tuple(sorted(findings, key=lambda f: (f.line is not None, f.file, f.line or 0))),
        totals=totals,
        stops=tuple(name for name in totals if _stops(name, resolved.data)),
        tokens=Tokens(tally.total, tally.supervised, computed, counting.percentiles()),
        estimate=estimate(work, Weights.of(judge.folder, judge.facts), shapes, resolved.method),
        survey=found.survey, lengths=dict(counting.lengths), borders=(tally.borders, tally.compared),
        samples=tuple(shown(judge.encoder, one) for one in _spread(counting)),
        reading=_reading(resolved.data),
    )  # fmt: skip


def _added(left: Mapping[str, int], right: Mapping[str, int]) -> Mapping[str, int]:
    return {name: left.get(name, 0) + right.get(name, 0) for name in (*left, *(n for n in right if n not in left))}


def _stops(name: str, data: DataSettings) -> bool:
    """Whether a finding of this name keeps a run from starting: its level says so, and no setting lets it stand."""
    kind = KINDS[name]
    return (
        kind.level == "stop"
        and name not in data.allow
        and (kind.setting is None or _value(data, kind.setting) != "drop")
    )


def _value(data: DataSettings, setting: str) -> Any:
    return getattr(data, setting.removeprefix("data."))


def _spread(counting: Counting) -> list[EncodedExample]:
    """The first examples, and some from everywhere."""
    sample = counting.sample.examples()
    first, others = sample[:FIRST], sample[FIRST:]
    wanted = SAMPLES - len(first)
    return [*first, *(others[len(others) * k // wanted] for k in range(wanted) if others)][:SAMPLES]
