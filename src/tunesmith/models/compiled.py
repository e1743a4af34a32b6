"""Blocks compiled by torch: where a GPU would spend its time on many small kernels.

The decision: one block of the model is compiled, not the whole, so all equal blocks share the result and the time to
compile does not grow with depth. Attention over the forest stays outside (`models.attention`): it is compiled for
itself on a GPU, and what it is told about a batch is no business of the block's. torch compiles a block for the first
length that it meets and, at the second, for all: the trial shows it both, so that a run meets none that is new, each of
which would take as long as the first. As everything is, it is tried, and left where it fails. On a CPU the fused layers
are faster than what torch makes of the plain ones.
"""

from collections.abc import Callable
from typing import Any

import torch

from tunesmith.batches.forest import PrefixForest
from tunesmith.models.flex import keep_forms
from tunesmith.models.forward import Network
from tunesmith.models.lora import undropped
from tunesmith.models.methods import decoder_layers
from tunesmith.models.probe import LONGER, REFUSALS, TOLERANCE, relative, trial_examples


class Compiled:
    """A block's forward, compiled for batches of the forest; what reads other lengths (answers, proofs) runs it plain.

    Those lengths are as many as there are tokens in an answer, and each would be compiled anew.
    """

    def __init__(self, plain: Callable[..., Any], *, backend: Any) -> None:
        self.plain, self.compiled = plain, torch.compile(plain, backend=backend)

    def __call__(self, *args: Any, **given: Any) -> Any:
        layout = given.get("forest")
        if layout is None or layout.mask is None:
            return self.plain(*args, **given)
        keep_forms()
        return self.compiled(*args, **given)


def compile_blocks(network: Network, *, backend: Any = "inductor") -> tuple[bool, str]:
    """Whether every block is compiled now, and the sentence that says so; if not, all are as they were."""
    layers = list(decoder_layers(network.model)[1])
    before = _tried(network)
    for layer in layers:
        layer.__dict__["forward"] = Compiled(layer.forward, backend=backend)
    try:
        differences = [relative(a, b) for a, b in zip(_tried(network), before, strict=True)]
        refusal = (
            None if max(differences) <= TOLERANCE.get(before[0].dtype, 2e-5) else f"differ by {max(differences):.1e}"
        )
    except REFUSALS as error:
        refusal = f"cannot be compiled ({type(error).__name__}: {str(error)[:120]})"
    if refusal is None:
        return True, f"{len(layers)} blocks are compiled, {max(differences):.1e} from what they were"
    for layer in layers:
        del layer.__dict__["forward"]
    return False, f"the blocks stay as they are: they {refusal}"


def _tried(network: Network) -> tuple[torch.Tensor, torch.Tensor]:
    """The hidden rows of a few examples and of some times as many, and the norms of the gradient that they hand back.

    They are pulled to somewhere: a final norm settles their length, whose gradient would be nothing but rounding.
    """
    examples = trial_examples(network.model.config.get_text_config().vocab_size, seed=0)
    forests = PrefixForest(examples), PrefixForest(examples * LONGER, sharing=False)
    generator = torch.Generator().manual_seed(0)
    seen = []
    with undropped(network.model):  # or no two trials would agree
        for forest in forests:
            rows = network.hidden_rows(forest.batch())
            rows.backward(torch.randn(rows.shape, generator=generator).to(rows))  # type: ignore[no-untyped-call]
            seen.append(rows.detach())
    norms = []
    for parameter in network.model.parameters():
        if parameter.grad is not None:
            norms.append(parameter.grad.float().norm())
            parameter.grad = None
    return torch.cat(seen), torch.stack(norms)
