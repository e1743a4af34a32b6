"""Trial: whether a loaded model generates exactly through the reader, decided by trying, not by a list of names.

The decision: the same one as for training (`models.probe`). Two sequences on a shared beginning and one alone are read
in several calls and compared with the untouched model reading each from its start. A model that fails is generated from
by transformers' own code, one sequence at a time: slower, and exact.
"""

from collections.abc import Sequence
from typing import Any
from weakref import WeakKeyDictionary

import torch
from torch import Tensor

from tunesmith.models import probe
from tunesmith.models.decoding import Trunk
from tunesmith.models.head import Head
from tunesmith.models.reader import Opening, Reader, own_attention

_TRUNK, _TAILS, _MORE = 13, (7, 1, 12), 3

_tried: WeakKeyDictionary[Any, dict[bool, str | None]] = WeakKeyDictionary()


def refusal(model: Any, *, longest: int) -> str | None:
    """Why the reader must not be used for sequences of up to `longest` tokens; None where it is exact.

    The answer is remembered for the model, so that asking before every call costs nothing.
    """
    beyond = longest > probe.smallest_limit(model.config)
    known = _tried.setdefault(model, {})
    if beyond not in known:
        known[beyond] = _refusal(model) or (_refusal_of_clone(model) if beyond else None)
    return known[beyond]


def _refusal(model: Any) -> str | None:
    head = Head.of(model)
    if head is None:
        return "its output is not one plain matrix"
    training = model.training
    model.eval()
    try:
        with torch.no_grad():
            difference = _difference(model, head)
    except probe.REFUSALS as error:
        return f"{type(error).__name__}: {str(error)[:120]}"
    finally:
        model.train(training)
    tolerance = probe.TOLERANCE.get(head.weight.dtype, probe.TOLERANCE[torch.float32])
    return None if difference <= tolerance else f"it differs by {difference:.1e}"


def _refusal_of_clone(model: Any) -> str | None:
    try:
        clone = probe.tiny_clone(model, seed=0).to(next(model.parameters()).device)
    except probe.REFUSALS as error:
        return f"no small copy of it could be built to try lengths beyond its limits: {error}"
    return _refusal(clone)


def _difference(model: Any, head: Head) -> float:
    """The largest difference of logits, relative to the largest logit."""
    sequences = _sequences(model.config.get_text_config().vocab_size)
    with own_attention(model):
        alone = [_alone(model, ids)[-_MORE - 1 :] for ids in sequences]
    reader = Reader(model, head)
    with reader.attached():
        reader.reserve(len(sequences), max(map(len, sequences)))
        trunk = Trunk(sequences[0][:_TRUNK])
        starts = [(ids[:-_MORE], trunk if number < 2 else None) for number, ids in enumerate(sequences)]
        found = [reader.read((), [Opening(ids[_TRUNK:] if below else ids, below) for ids, below in starts])]
        found += [reader.read([[ids[step]] for ids in sequences]) for step in range(-_MORE, 0)]
    ours, theirs = torch.stack(found, dim=1), torch.stack(alone)
    if not bool(ours.isfinite().all()):
        return float("inf")
    return float((ours - theirs).abs().max() / theirs.abs().max().clamp_min(1e-30))


def _sequences(vocabulary: int) -> list[list[int]]:
    """Two sequences that share their first tokens, and one for itself; the middle of the vocabulary has no specials."""
    low, high = vocabulary // 4, max(vocabulary // 2, vocabulary // 4 + 1)
    ids = torch.randint(low, high, (60,), generator=torch.Generator().manual_seed(0)).tolist()
    ends = [ids[20:30], ids[30:34], ids[34:49]]
    return [(ids[:_TRUNK] if number < 2 else []) + end for number, end in enumerate(ends)]


def _alone(model: Any, ids: Sequence[int]) -> Tensor:
    device = next(model.parameters()).device
    logits: Tensor = model(input_ids=torch.tensor([list(ids)], device=device), use_cache=False).logits[0]
    return logits
