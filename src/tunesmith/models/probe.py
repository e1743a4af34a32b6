"""The probe: whether a loaded model computes a forest exactly, decided by trying, not by a list of names.

The decision: two examples with a shared beginning and a short third one run through the forest and alone through the
untouched model; hidden states and logits must agree. Windows, chunks and stretched rotary embeddings show only in
examples longer than their limit, so when the data reach such a limit, a tiny clone of the configuration with every
limit set to 8 is probed too. What fails runs alone: slower, and exact. On a GPU attention has several ways through a
forest; they are tried from the fastest on, and the first that is exact is taken.
"""

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from tunesmith.batches.forest import PrefixForest
from tunesmith.data.example import Origin
from tunesmith.models.attention import NAME, Way
from tunesmith.models.forward import Network, use_attention
from tunesmith.models.fused.fuse import fuse, unfuse
from tunesmith.models.head import Head
from tunesmith.models.native import attention as native
from tunesmith.tokens.encoded import EncodedExample

LIMITS = ("sliding_window", "attention_chunk_size", "original_max_position_embeddings")
CLONE_LIMIT = 8
WAYS: dict[str, tuple[Way, ...]] = {"cuda": ("runs", "flex", "segments"), "cpu": ("segments",)}
"""What attention is tried by on each device, the fastest first."""
SAID: dict[Way, str] = {
    "segments": "", "flex": ", by FlexAttention", "runs": ", by flash attention or FlexAttention"
}  # fmt: skip
COMPILED = ", by attention compiled for this processor"
TOLERANCE = {torch.float32: 2e-5, torch.float64: 1e-8, torch.bfloat16: 6e-2, torch.float16: 2e-2}
"""Largest difference of hidden states, relative to their largest value, that rounding explains."""

LONGER = 4
"""How many times the trial examples, sharing nothing, are padded to another length than they are by themselves."""

# A class's own refusals (TypeError for the keyword, ValueError for the attention's name…) all mean: not by forest.
REFUSALS = (TypeError, ValueError, KeyError, AttributeError, RuntimeError, NotImplementedError, IndexError)


@dataclass(frozen=True, slots=True)
class Probe:
    """The network as it will be run, the largest relative difference seen, and a sentence for the journal."""

    network: Network
    difference: float
    reason: str


def probe(model: Any, *, longest: int, seed: int = 0, ways: tuple[Way, ...] = ()) -> Probe:
    """Try the forest on `model` (and on a tiny clone when `longest` reaches a limit) and choose how it is run.

    `ways` are what attention is tried by, in that order; by default those of the model's device.
    """
    training = model.training
    model.eval()
    unfuse(model)
    own = getattr(model.config, "_attn_implementation", None) or "eager"
    if own == NAME:  # probed before
        own = "eager"
        use_attention(model, forest=False, own=own)
    batch = trial_examples(_vocabulary(model.config), seed)
    with torch.no_grad():
        hidden, logits = _alone(model, batch)
        head = _checked_head(model, hidden, logits)
        tolerance = TOLERANCE.get(hidden.dtype, 2e-5)
        way, difference, refusal = _best_way(model, batch, hidden, ways or WAYS[hidden.device.type])
        reason = refusal or f"differs by {difference:.1e}"
        exact = fusable = refusal is None and difference <= tolerance
        if exact and longest > smallest_limit(model.config):
            exact, reason, fusable = _clone_agrees(model, seed, way)
    use = exact and head is not None
    if use and fusable and way == "segments":
        _fuse(model, batch, hidden)
    if not use:
        _restore(model, own)
    model.train(training)
    if use:
        by = SAID[way] or (COMPILED if native.suits(hidden) else "")
        reason = f"forest = one example at a time to {difference:.1e}{by}; shared beginnings are computed once"
    elif exact:
        reason = "the output is not one plain matrix, so the model makes its own logits, one example at a time"
    else:
        reason = f"this model does not compute a forest exactly ({reason}), so it runs one example at a time"
    return Probe(Network(model, use, head, way), difference, reason)


def trial_examples(vocabulary: int, seed: int) -> list[EncodedExample]:
    """Two examples with a beginning of 13 tokens in common, and one of 5 tokens."""
    ids = np.random.default_rng(seed).integers(vocabulary // 4, max(vocabulary // 2, vocabulary // 4 + 1), 50)
    trunk, a, b, short = ids[:13], ids[13:29], ids[29:41], ids[41:46]
    origin = Origin("probe", 0)
    sequences = [np.concatenate([trunk, a]), np.concatenate([trunk, b]), short]
    ones = [np.ones(len(s), np.float32) for s in sequences]
    for weights in ones:
        weights[0] = 0
    return [EncodedExample(s.astype(np.int32), w, origin) for s, w in zip(sequences, ones, strict=True)]


def _alone(model: Any, examples: list[EncodedExample]) -> tuple[Tensor, Tensor]:
    """Hidden states and logits of each example by itself, one after the other: [Σ(n-1), D] and [Σ(n-1), V]."""
    hidden, logits = [], []
    for example in examples:
        ids = torch.from_numpy(example.ids.astype(np.int64)).to(next(model.parameters()).device)[None]
        hidden.append(model.base_model(input_ids=ids, use_cache=False).last_hidden_state[0, :-1])
        logits.append(model(input_ids=ids, use_cache=False).logits[0, :-1])
    return torch.cat(hidden), torch.cat(logits)


def _checked_head(model: Any, hidden: Tensor, logits: Tensor) -> Head | None:
    """The plain head when it makes the model's own logits."""
    head = Head.of(model)
    if head is None:
        return None
    return head if relative(head.logits(hidden), logits) <= TOLERANCE.get(hidden.dtype, 2e-5) else None


def _best_way(
    model: Any, examples: list[EncodedExample], alone: Tensor, ways: Sequence[Way]
) -> tuple[Way, float, str | None]:
    """The first of the `ways` that is exact, else the last; how far it is from `alone`, or why it cannot be called."""
    for way in ways:
        difference, refusal = _forest_difference(model, examples, alone, way)
        if way != "segments" and refusal is None:  # where nothing is shared it may go another way; and longer ones do
            many = alone.repeat(LONGER, 1)
            longer, refusal = _forest_difference(model, examples * LONGER, many, way, sharing=False)
            difference = max(difference, longer)
        if refusal is None and difference <= TOLERANCE.get(alone.dtype, 2e-5):
            break
    return way, difference, refusal


def _forest_difference(
    model: Any, examples: list[EncodedExample], alone: Tensor, way: Way = "segments", *, sharing: bool = True
) -> tuple[float, str | None]:
    """How far the forest is from `alone`, or why the model cannot be called so."""
    batch = PrefixForest(examples, sharing=sharing).batch()
    try:
        use_attention(model, forest=True)
        network = Network(model, True, None, way)
        rows = network.hidden_rows(batch)
    except REFUSALS as refusal:
        return float("inf"), f"{type(refusal).__name__}: {str(refusal).splitlines()[0][:120] if str(refusal) else ''}"
    # Targets stand example by example in the order given, as in `_alone`.
    return relative(rows[network.on_device(batch.row_of)], alone), None


def _fuse(model: Any, examples: list[EncodedExample], alone: Tensor, *, shown: slice = slice(None)) -> bool:
    """Fuse what is proven equal on the `shown` examples, and keep it only if all of them are still what they were."""
    batch = PrefixForest(examples[shown]).batch()
    with torch.no_grad():
        fuse(model, lambda: Network(model, True, None).hidden_rows(batch))
        difference, _ = _forest_difference(model, examples, alone)
    if difference > TOLERANCE.get(alone.dtype, 2e-5):
        unfuse(model)
        return False
    return True


def relative(a: Tensor, b: Tensor) -> float:
    """The largest difference, relative to the largest of `b`; infinite where `a` is not finite."""
    return float((a - b).abs().max() / b.abs().max().clamp_min(1e-30)) if bool(a.isfinite().all()) else float("inf")


def _restore(model: Any, own: str) -> None:
    try:
        use_attention(model, forest=False, own=own)
    except REFUSALS:
        model.config._attn_implementation = own


def _vocabulary(config: Any) -> int:
    return int(config.get_text_config().vocab_size)


def smallest_limit(config: Any) -> float:
    """The shortest length at which a window, a chunk or another rotary stretch begins to show."""
    found = [value for where in _limit_holders(config) for name in LIMITS if (value := where.get(name))]
    return min(found, default=float("inf"))


def _limit_holders(config: Any) -> list[dict[str, Any]]:
    """The dictionaries in which limits stand: the configuration, and its rotary settings (one, or per layer type)."""
    text = config.get_text_config()
    holders = [vars(text)]
    rope = getattr(text, "rope_parameters", None) or getattr(text, "rope_scaling", None)
    if isinstance(rope, dict):
        holders += [rope, *(part for part in rope.values() if isinstance(part, dict))]
    return holders


def _clone_agrees(model: Any, seed: int, way: Way) -> tuple[bool, str, bool]:
    """Probe a tiny clone with all limits at 8; when none can be built, the forest is not proven and not used.

    The last value says whether what is fused by a look at the one example within the limits holds for the others too.
    """
    try:
        clone = tiny_clone(model, seed).to(next(model.parameters()).device)
        examples = trial_examples(_vocabulary(clone.config), seed)
        hidden, _ = _alone(clone, examples)
        difference, refusal = _forest_difference(clone, examples, hidden, way)
        fusable = _fuse(clone, examples, hidden, shown=slice(2, 3))
    except REFUSALS as failure:
        return False, f"no small copy of it could be built to try lengths beyond its limits: {failure}", False
    exact = difference <= TOLERANCE[torch.float32]
    return exact, refusal or f"beyond its window it differs by {difference:.1e}", fusable


def tiny_clone(model: Any, seed: int) -> Any:
    """A small random model of the same class and configuration, every window, chunk and original length set to 8."""
    config = copy.deepcopy(model.config)
    text = config.get_text_config()
    layers = _layers_that_show_all_kinds(text)
    small = {
        "num_hidden_layers": layers, "vocab_size": 128, "pad_token_id": None, "bos_token_id": 1, "eos_token_id": 2,
        "intermediate_size": 48, "moe_intermediate_size": 24, "num_local_experts": 4, "num_experts": 4,
        "max_position_embeddings": 64,
    }  # fmt: skip
    for name, value in small.items():
        if getattr(text, name, None) is not None or name == "pad_token_id":
            setattr(text, name, value)
    for name in ("layer_types", "mlp_layer_types", "no_rope_layers"):
        kinds = getattr(text, name, None)
        if isinstance(kinds, list | tuple):
            setattr(text, name, list(kinds)[:layers])
    for where in _limit_holders(config):
        for name in LIMITS:
            if where.get(name):
                where[name] = CLONE_LIMIT
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        clone = type(model)(config).float().eval()
    use_attention(clone, forest=False, own="eager")
    return clone


def _layers_that_show_all_kinds(config: Any) -> int:
    """How many of the first layers contain every kind of layer that the model has; at least two where it has two."""
    kinds = list(getattr(config, "layer_types", None) or [])
    total = int(config.num_hidden_layers)
    needed = max((kinds.index(kind) + 1 for kind in set(kinds)), default=1)
    return min(total, max(2, needed))
