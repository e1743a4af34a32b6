"""A network made to fit its device: compiled where that pays, and computed twice where memory is short.

The decision: one place for both, between the method and the first step, for runs and measurements alike; each choice is
a sentence. Threads and the choice of operations belong to the process, so they are settled before its first product.
"""

import os
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch

from tunesmith.errors import RecipeError
from tunesmith.models.compiled import compile_blocks
from tunesmith.models.forward import Network
from tunesmith.models.methods import Applied
from tunesmith.models.recompute import recompute
from tunesmith.models.settings import Lora, Method
from tunesmith.run.memory import choose, standing_bytes
from tunesmith.run.resolve import Shapes, total_memory
from tunesmith.training.settings import TrainingSettings

_CUBLAS = "CUBLAS_WORKSPACE_CONFIG"


def settle_process(training: TrainingSettings) -> None:
    """This process computes with the operations and threads that the recipe names.

    cuBLAS gives the same bits only with a workspace of fixed size (its documentation, "Results reproducibility").
    """
    if training.threads is not None:
        torch.set_num_threads(training.threads)
    if training.deterministic:
        os.environ.setdefault(_CUBLAS, ":4096:8")
        torch.use_deterministic_algorithms(True)


def settle(
    network: Network,
    applied: Applied,
    method: Method,
    training: TrainingSettings,
    *,
    longest: int,
    say: Callable[[str], object],
) -> Network:
    """The network as it trains on its device, its method applied; `longest` is the most tokens of an example.

    Raises:
        RecipeError: blocks are to be compiled where they are not.
    """
    model: Any = network.model
    device = network.device.type
    if training.compile == "on" and device != "cuda":
        raise RecipeError(
            "training.compile: on a CPU the fused layers are faster than compiled ones. Leave it out, or set it to off."
        )
    if device == "cuda" and training.compile != "off" and network.way != "segments":
        compiled, reason = compile_blocks(network)
        network = replace(network, compiled=compiled)
        say(f"compile: {reason}")
    shapes = Shapes.of(model.config)
    found = choose(
        training.recompute,
        replace(shapes, layers=shapes.layers - applied.lowest_trained_layer),
        tokens=max(training.micro_batch_tokens or 1, longest),
        width=next(model.parameters()).element_size(),
        standing=standing_bytes(model, applied),
        memory=total_memory(device),
    )
    say(f"memory: {found.reason}" if not found.reason.startswith("warning") else found.reason)
    draws = isinstance(method, Lora) and method.dropout > 0
    recompute(model, found.blocks, lowest_trained=applied.lowest_trained_layer, draws=draws)
    return network
