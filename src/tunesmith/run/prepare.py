"""Everything that stands before the first step: model, tokenizer, data, method, and a recipe with nothing left open.

The decision: nothing is written before all of it has succeeded, so bad input leaves no run folder behind.
"""

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch

from tunesmith.data.checks import Finding
from tunesmith.data.files import find_files
from tunesmith.data.settings import DataSettings
from tunesmith.errors import RecipeError, UsageError
from tunesmith.evaluation.metrics import METRICS, named, require
from tunesmith.evaluation.question import of_encoded, unanswered
from tunesmith.evaluation.task import load_task
from tunesmith.models.context import context_length, read_config
from tunesmith.models.folder import is_adapter
from tunesmith.models.load import load_model
from tunesmith.models.methods import Applied, apply
from tunesmith.models.probe import Probe, probe
from tunesmith.models.sources import Source
from tunesmith.models.sources import resolve as resolve_source
from tunesmith.models.vocabulary import with_tokens
from tunesmith.recipe import Loaded, Recipe
from tunesmith.recipe.paths import data_files
from tunesmith.run.encoding import encoded_sets
from tunesmith.run.examples import SHOWN, Sets
from tunesmith.run.guessing import with_guess
from tunesmith.run.replaying import with_replay
from tunesmith.run.resolve import Shapes, dangers, resolve, setting
from tunesmith.run.rewriting import rewriter
from tunesmith.run.settling import settle, settle_process
from tunesmith.tokens.builtin import BUILT_IN, missing_control_tokens, template_text, with_control_tokens
from tunesmith.tokens.encode import Encoder
from tunesmith.tokens.tokenizer import Tokenizer

Say = Callable[[str], object]
KNOWN_METRICS = ("validation_loss", "validation_accuracy")
READ_TOLD = 100_000
"""Examples between two words on the reading of large data."""
TASK = "task_"
"""What the journal puts before the name of a metric of `evaluate`, because training has numbers of the same names."""
END_TOKENS = {"chatml": "<|im_end|>", "gemma": "<end_of_turn>"}
"""What closes a turn in the built-in templates that use control tokens."""
DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}


@dataclass(frozen=True, slots=True)
class Prepared:
    """What a run starts from."""

    loaded: Loaded
    source: Source
    encoder: Encoder
    sets: Sets

    @property
    def recipe(self) -> Recipe:
        """The resolved recipe."""
        return self.loaded.recipe


@dataclass(frozen=True, slots=True)
class Ready:
    """A model with its method applied, and how it is run."""

    model: Any
    applied: Applied
    probe: Probe


def prepare(loaded: Loaded, say: Say) -> Prepared:
    """Read and check everything that the recipe names, and resolve what it leaves open.

    Raises:
        TunesmithError: something cannot be used as it is; nothing has been written.
    """
    loaded = _with_metric(loaded)
    settle_process(loaded.recipe.training)  # what is rewritten or replayed is computed before the run's own model
    for file in data_files(loaded.recipe):
        find_files(file)  # a missing file is said before minutes go into a model
    source = _base(loaded.recipe)
    say(f"model: {source.name}")
    before = loaded.origins
    loaded = _with_template(loaded, Tokenizer.load(source.folder))
    supervision = loaded.recipe.supervision
    source = _with_control_tokens(source, supervision.chat_template, say)
    tokenizer = Tokenizer.load(source.folder)
    encoder = Encoder(
        tokenizer,
        train_on=supervision.train_on,
        chat_template=supervision.chat_template,
        max_length=supervision.max_length,
    )
    config = read_config(source.folder)
    split_turns = supervision.rewritten_turns == "split"
    rewrite = rewriter(source, encoder, say) if loaded.recipe.keeping.rewrite else None
    sets = encoded_sets(
        loaded.recipe.data,
        encoder,
        context=context_length(config),
        split_turns=split_turns,
        tell=_telling(say),
        rewrite=rewrite,
        processes=torch.get_num_threads(),
    )
    _require_measured(loaded.recipe, sets)
    _require_computable(loaded.recipe, sets, encoder)
    say(_balance(sets))
    for warning in _warnings(loaded.recipe.data, sets):
        say(warning)
    loaded = with_guess(loaded, sets, encoder)
    sets = with_replay(loaded.recipe, sets, encoder, source, say)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    loaded = resolve(
        loaded,
        examples=len(sets.train),
        longest=sets.longest,
        validated=bool(sets.validation),
        shapes=Shapes.of(config),
        device=device,
    )
    for name, origin in loaded.origins.items():
        if before.get(name) != origin:
            say(f"  {name}: {setting(loaded.recipe, name)} ({origin.detail})")
    for danger in dangers(loaded.recipe, examples=len(sets.train), validated=bool(sets.validation)):
        say(f"warning: {danger}")
    return Prepared(loaded, source, encoder, sets)


def _base(recipe: Recipe) -> Source:
    source = resolve_source(recipe.model, revision=recipe.revision)
    if is_adapter(source.folder):
        raise UsageError(
            f"{source.name}: this is an adapter, not a model. Merge it first: "
            f"`tunesmith export {source.name} --to FOLDER --merge`, then train on that folder."
        )
    return source


def make_ready(prepared: Prepared, say: Say) -> Ready:
    """Load the model, apply the method, and let the probe decide how it is run."""
    recipe = prepared.recipe
    settle_process(recipe.training)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    model: Any = load_model(prepared.source.folder, dtype=DTYPES[recipe.training.dtype]).to(device)  # type: ignore[arg-type]
    found = probe(model, longest=prepared.sets.longest)
    applied = apply(recipe.method, model, seed=recipe.seed)
    share = 100 * applied.trainable_parameters / applied.total_parameters
    say(f"method: {recipe.method.kind}, {applied.trainable_parameters:,} parameters train ({share:.2f} %)")
    for note in applied.notes:
        say(f"  {note}")
    say(f"probe: {found.reason}")
    longest = prepared.sets.longest
    network = settle(found.network, applied, recipe.method, recipe.training, longest=longest, say=say)
    return Ready(model, applied, replace(found, network=network))


def _require_measured(recipe: Recipe, sets: Sets) -> None:
    """Return only if what the ways to keep are chosen by is measured in this run."""
    keeping = recipe.keeping
    asked = {"interpolate": keeping.interpolate != "off", "most_lost": keeping.most_lost is not None}
    for name in recipe.retention.tasks:
        load_task(name)  # a misspelled name is told before hours go into a run
    for name, wanted in asked.items():
        if wanted and not sets.validation:
            raise RecipeError(f"keeping.{name}: is chosen on validation data, and there are none. Set data.validation.")
    if asked["most_lost"] and recipe.retention.text == "off":
        raise RecipeError("keeping.most_lost: needs general text to measure on. Set retention.text to auto or a file.")


def _require_computable(recipe: Recipe, sets: Sets, encoder: Encoder) -> None:
    """Return only if every metric that is asked for can be computed on the validation questions of this run."""
    asked = recipe.training.validation
    where = "training.validation.metrics"
    for name, wanted in (("metrics", bool(asked.metrics)), ("patience", asked.patience is not None)):
        if wanted and not sets.validation:
            raise RecipeError(
                f"training.validation.{name}: needs validation data, and there are none. Set data.validation."
            )
    if not asked.metrics:
        return
    questions = of_encoded(encoder, sets.validation[: asked.answers])
    if not questions:
        raise RecipeError(
            f"{where}: the validation examples hold no question to answer. "
            f"Choose the best by {' or '.join(KNOWN_METRICS)}."
        )
    try:
        require(named(asked.metrics), unanswered(questions))
    except UsageError as error:
        raise RecipeError(f"{where}: {error}") from error


def _with_metric(loaded: Loaded) -> Loaded:
    """The metric that chooses the best is measured; a metric of `evaluate` has the name that the journal gives it."""
    validation = loaded.recipe.training.validation
    named(validation.metrics)
    metric = validation.metric.removeprefix(TASK)
    if validation.metric in KNOWN_METRICS:
        return loaded
    if metric not in METRICS:
        raise RecipeError(
            f"training.validation.metric: {validation.metric!r} is not measured. Use {', '.join(KNOWN_METRICS)}, or "
            f"one of {', '.join(TASK + name for name in METRICS)}."
        )
    if metric not in validation.metrics:
        reason = "the metric that chooses the best is measured"
        loaded = loaded.resolve("training.validation.metrics", [*validation.metrics, metric], reason)
    if validation.metric == metric:
        loaded = loaded.resolve("training.validation.metric", TASK + metric, "its name in the journal")
    return loaded


def _with_template(loaded: Loaded, tokenizer: Tokenizer) -> Loaded:
    """A model without a chat template gets a built-in one whose control tokens it knows."""
    if loaded.recipe.supervision.chat_template is not None or tokenizer.chat_template is not None:
        return loaded
    fitting = [name for name in BUILT_IN if not missing_control_tokens(BUILT_IN[name], tokenizer)]
    # A template of control tokens marks turns better than plain words do.
    name = next((name for name in fitting if name != "plain"), fitting[0])
    reason = "the model has no chat template, and its tokenizer knows the control tokens of this one"
    return loaded.resolve("supervision.chat_template", name, reason)


def _with_control_tokens(source: Source, choice: str | None, say: Say) -> Source:
    """The model with the control tokens of a built-in template as tokens of their own; others are only told of."""
    tokenizer = Tokenizer.load(source.folder)
    missing = missing_control_tokens(template_text(choice), tokenizer) if choice is not None else ()
    if choice is None or not missing:
        return source
    if choice not in END_TOKENS:
        say(f"warning: the template writes {', '.join(missing)}, which this tokenizer spells in several tokens.")
        return source
    names = ("tokenizer.json", "tokenizer_config.json")
    files = {name: (source.folder / name).read_text(encoding="utf-8") for name in names}
    files = with_control_tokens(files, missing, end_token=END_TOKENS[choice])
    added = {token["content"]: int(token["id"]) for token in json.loads(files["tokenizer.json"])["added_tokens"]}
    # Each new token does a work that the end of a text does already: it closes or opens a stretch.
    start = tokenizer.eos_id if tokenizer.eos_id is not None else 0
    say(f"  {', '.join(missing)}: added to the vocabulary as control tokens")
    return with_tokens(source, files, like={added[text]: start for text in missing})


def _telling(say: Say) -> Callable[[int], object]:
    """Tells of large data how many examples have been encoded, now and then."""
    told = 0

    def tell(done: int) -> None:
        nonlocal told
        if done // READ_TOLD > told:
            told = done // READ_TOLD
            say(f"  encoded {done:,} examples")

    return tell


def _balance(sets: Sets) -> str:
    dropped = "".join(f", {count:,} dropped ({name})" for name, count in sets.dropped.items())
    parts = f"{len(sets.train):,} train, {len(sets.validation):,} validation, {len(sets.test):,} test"
    return f"data: {sets.format}; {sets.read:,} records read: {parts}{dropped}"


def _warnings(data: DataSettings, sets: Sets) -> Iterator[str]:
    """What a check of the data would warn of, a sentence for each kind with the first place."""
    for finding, count in sets.warned:
        often = f" ({count:,} times)" if count > 1 else ""
        yield f"warning: {finding.name}{often}: {finding}"
    if sets.warned:
        files = [data.train] if isinstance(data.train, str) else data.train
        yield f"  all of them: tunesmith data check {' '.join(files)}"
    if sets.leaks and "leak" not in data.allow:
        yield _leak_warning(sets.leaks)


def _leak_warning(leaks: Sequence[Finding]) -> str:
    first = "".join(f"\n  {leak}" for leak in leaks[:SHOWN])
    more = f"\n  … and {len(leaks) - SHOWN} more" if len(leaks) > SHOWN else ""
    same = sum(leak.name == "leak" for leak in leaks)
    what = f"{len(leaks)} held-out prompts stand in the training data ({same} as they are, {len(leaks) - same} nearly)"
    return f"warning: {what}, so what is measured on them means little:{first}{more}"
