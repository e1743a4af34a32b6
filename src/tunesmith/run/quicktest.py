"""The quick part of the self-test, which every run does before its first step and says in one line.

The decision: what would make a run worthless is cheap to find before it, on the run's own model, adapter, template and
data. It costs at most a fortieth of the tokens that the run computes, in forwards alone, so less than 1 % of its time.
"""

from collections.abc import Callable, Sequence
from contextlib import nullcontext

import numpy as np
import torch
from torch import nn

from tunesmith.errors import ModelError, TemplateError
from tunesmith.models import adapters
from tunesmith.models.forward import Network
from tunesmith.models.untouched import untouched
from tunesmith.run.prepare import Prepared, Ready
from tunesmith.run.selftest import ROUNDING, Proof, of_tokens, own_examples
from tunesmith.tokens.encode import Encoder
from tunesmith.tokens.encoded import EncodedExample
from tunesmith.training.step import Pass, measure

SHARE = 40
"""At most one token of so many that the run computes is spent here."""
MOST_TOKENS = 512
MOST_EXAMPLES = 2
LOOKED_AT = 1000
"""Training examples among which the shortest are looked for."""
ROUGH = 2e-2
"""Relative difference of losses that rounding explains in half precision."""


def prove(prepared: Prepared, ready: Ready, say: Callable[[str], object]) -> None:
    """Return only if the run's steps, adapter and template do what they should, having said what was proved.

    Raises:
        ModelError: something does not hold; names it with the measured difference.
    """
    network = ready.probe.network
    chosen = _affordable(prepared)
    of_template = _of_template(prepared.encoder)
    of_model = _of_model(network, chosen) if chosen else ()
    if broken := _told(of_model):
        raise ModelError(
            f"{prepared.source.name}: the self-test before the first step failed, it does not hold that {broken}. "
            f"Nothing was trained. Find out more: tunesmith selftest {prepared.source.name}"
        )
    # What is learned of the user's own data was proved when they were encoded.
    if doubtful := _told(of_template):
        say(f"warning: of a plain question and answer it does not hold that {doubtful}")
    holding = [proof.name for proof in (*of_template, *of_model) if proof.holds]
    spent = f"{len(chosen)} examples, {sum(map(len, chosen))} tokens" if chosen else "template alone, the run is short"
    say(f"self-test: {'; '.join(holding) or 'nothing to prove'} ({spent})")


def _told(proofs: Sequence[Proof]) -> str:
    broken = [proof for proof in proofs if not proof.holds]
    return "; ".join(f"{p.name} (difference {p.difference:.1e}, at most {p.tolerance:.0e})" for p in broken)


def _affordable(prepared: Prepared) -> list[EncodedExample]:
    """The shortest of the first training examples, as many as the run's own length allows."""
    sets, settings = prepared.sets.train, prepared.recipe.training
    first = [sets[i] for i in range(min(len(sets), LOOKED_AT))]
    mean = sum(map(len, first)) / len(first)
    left = min(MOST_TOKENS, int(mean * (settings.batch_size or 1) * (settings.steps or 1)) // SHARE)
    chosen: list[EncodedExample] = []
    for example in sorted((e for e in first if e.target_weight > 0), key=len)[:MOST_EXAMPLES]:
        left -= len(example)
        if left >= 0:
            chosen.append(example)
    return chosen


def _of_template(encoder: Encoder) -> Sequence[Proof]:
    """The proofs about a plain question and answer; none where the template refuses to write them."""
    if encoder.train_on == "all":
        return ()
    examples = [example for example in own_examples() if len(example.messages) == 2]
    try:
        return list(of_tokens(encoder, examples, [encoder.encode(example) for example in examples]))
    except TemplateError:
        return ()


def _of_model(network: Network, examples: Sequence[EncodedExample]) -> Sequence[Proof]:
    how = Pass(1 << 30, sharing=True)
    half = next(network.model.parameters()).dtype != torch.float32
    with adapters.disabled(network.model) if adapters.adapted(network.model) else nullcontext():
        ours = measure(network, examples, how).loss
        alone = _alone(network, examples)
    proofs = [Proof("packed = alone", abs(ours - alone) / max(abs(alone), 1e-9), ROUGH if half else ROUNDING)]
    if adapters.adapted(network.model):
        proofs.append(Proof("the adapter starts as the base", abs(measure(network, examples, how).loss - ours), 0))
    return proofs


def _alone(network: Network, examples: Sequence[EncodedExample]) -> float:
    """The loss by nothing but the model's own forward and torch's own cross entropy, one example at a time."""
    total = 0.0
    with torch.inference_mode(), untouched(network.model):
        for example in examples:
            ids = network.on_device(example.ids.astype(np.int64))
            logits = network.model(input_ids=ids[None], use_cache=False).logits[0, :-1].float()
            each = nn.functional.cross_entropy(logits, ids[1:], reduction="none")
            total += float((each * network.on_device(example.weights[1:])).sum())
    return total / sum(example.target_weight for example in examples)
