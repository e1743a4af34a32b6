"""What the frozen layers make of the training examples, where a run reads it more than once and has room for it.

The decision: said aloud either way, and made before the first step from the examples, the base and the recipe alone, so
that a resumed run stands on the same bits.
"""

from tunesmith.batches.order import steps_per_epoch
from tunesmith.models.lower import Lower, StoredStates, store
from tunesmith.models.settings import Frozen
from tunesmith.run.opened import Say
from tunesmith.run.prepare import Prepared, Ready
from tunesmith.run.resolve import total_memory

SHARE_OF_MEMORY = 0.25


def stored_states(prepared: Prepared, ready: Ready, say: Say) -> StoredStates | None:
    """The states that the steps of this run begin with; None where they run the whole network."""
    settings, method, network = prepared.recipe.training, prepared.recipe.method, ready.probe.network
    layer = ready.applied.lowest_trained_layer
    if not isinstance(method, Frozen) or not method.store or layer == 0:
        return None
    if not network.forest or network.head is None:
        return None
    assert settings.steps is not None, "the recipe is not resolved"
    assert settings.batch_size is not None, "the recipe is not resolved"
    if settings.steps <= steps_per_epoch(len(prepared.sets.train), settings.batch_size):
        return None
    found = store(
        Lower(network, layer),
        prepared.sets.train,
        budget=settings.micro_batch_tokens or 1,
        sharing=settings.sharing,
        most_bytes=int(SHARE_OF_MEMORY * total_memory(network.device.type)),
    )
    if isinstance(found, str):
        say(f"frozen layers: they run in every epoch, because {found}")
        return None
    size = found.states.numel() * found.states.element_size()
    say(f"frozen layers: their output of {len(found.states):,} tokens stands in {size / 1e6:,.0f} MB of memory")
    return found
