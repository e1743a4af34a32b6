"""The verb `profile`: where the time and the memory of one training step go.

The decision: what is profiled is the ordinary step on the recipe's own data, after one that warms up, so nothing is
simulated. torch's profiler tells of every operation; hooks on the modules say where in the model it stands. Operations
of one name under one parent are one entry of the tree.
"""

import resource
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch.profiler import ProfilerActivity, record_function
from torch.profiler import profile as recording

from tunesmith.batches.order import examples_of_step
from tunesmith.models.allocator import keep_freed_memory
from tunesmith.recipe import Loaded
from tunesmith.run.prepare import Say, make_ready, prepare
from tunesmith.training.optimizer import build
from tunesmith.training.step import Measured, Pass, backward, gradient_norm


@dataclass(slots=True)
class Part:
    """Something that took time: its own seconds, those with its parts, its calls, and the bytes that it allocated."""

    name: str
    seconds: float = 0.0
    own_seconds: float = 0.0
    calls: int = 0
    allocated: int = 0
    parts: dict[str, "Part"] = field(default_factory=dict)

    def add(self, event: Any) -> None:
        """Count one event of torch's profiler with everything in it."""
        self.calls += 1
        self.seconds += event.cpu_time_total / 1e6
        self.own_seconds += event.self_cpu_time_total / 1e6
        self.allocated += max(event.self_cpu_memory_usage, 0)
        for inside in event.cpu_children:
            self.parts.setdefault(inside.name, Part(inside.name)).add(inside)


@dataclass(frozen=True, slots=True)
class Profile:
    """A profiled step: its tree, its operations by their own time, what it computed, and the process's peak memory."""

    tree: Part
    operations: tuple[Part, ...]
    measured: Measured
    seconds: float
    """Of the same step without a profiler watching."""
    peak_bytes: int


def profile(loaded: Loaded, *, say: Say) -> Profile:
    """Prepare a run as `train` does, make one step, and one more under the profiler; nothing is written.

    Raises:
        TunesmithError: the recipe cannot be run as it is.
    """
    prepared = prepare(loaded, say)
    ready = make_ready(prepared, say)
    recipe = prepared.recipe
    settings = recipe.training
    assert settings.batch_size is not None, "the recipe is not resolved"
    assert settings.micro_batch_tokens is not None, "the recipe is not resolved"
    train = prepared.sets.train
    chosen = examples_of_step(0, count=len(train), batch_size=settings.batch_size, seed=recipe.seed)
    members = [train[i] for i in chosen]
    optimizer = build(ready.applied.trainable, settings)
    keep_freed_memory()
    how = Pass(settings.micro_batch_tokens, settings.sharing, settings.label_smoothing)
    parameters = [p for _, p in ready.applied.trainable]

    def step() -> Measured:
        with record_function("gradient"):
            measured = backward(ready.probe.network, members, how, dropout_seed=None)
        with record_function("norm and clipping"):
            gradient_norm(parameters, clip=settings.clip)
        with record_function("update"):
            optimizer.step()
            optimizer.zero_grad()
        return measured

    say("one step to warm up, one by the clock, one under the profiler")
    step()
    began = time.perf_counter()
    step()
    seconds = time.perf_counter() - began
    with _named(ready.model), recording(activities=[ProfilerActivity.CPU], profile_memory=True) as watched:
        measured = step()
    events = [event for event in watched.events() if event.cpu_parent is None]
    tree = Part("step")
    for event in events:
        tree.parts.setdefault(event.name, Part(event.name)).add(event)
    tree.seconds, tree.calls = sum(part.seconds for part in tree.parts.values()), 1
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    return Profile(tree, _by_operation(tree), measured, seconds, peak)


def _by_operation(tree: Part) -> tuple[Part, ...]:
    """Everything of one name counted together, the most own time first."""
    found: dict[str, Part] = {}
    todo = list(tree.parts.values())
    while todo:
        part = todo.pop()
        whole = found.setdefault(part.name, Part(part.name))
        whole.own_seconds += part.own_seconds
        whole.calls += part.calls
        whole.allocated += part.allocated
        todo.extend(part.parts.values())
    return tuple(sorted(found.values(), key=lambda part: -part.own_seconds))


@contextmanager
def _named(model: torch.nn.Module) -> Iterator[None]:
    """Inside the block the forward of every module is told to the profiler by the name of its class."""
    open_ones: list[Any] = []

    def enter(module: torch.nn.Module, args: Any) -> None:
        scope = record_function(type(module).__name__)
        scope.__enter__()  # type: ignore[no-untyped-call]
        open_ones.append(scope)

    def leave(module: torch.nn.Module, args: Any, output: Any) -> None:
        open_ones.pop().__exit__(None, None, None)

    hooks = []
    for module in model.modules():
        hooks += [module.register_forward_pre_hook(enter), module.register_forward_hook(leave)]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()
