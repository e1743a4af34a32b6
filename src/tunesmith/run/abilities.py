"""What a run did to other abilities: the base and the tuned model on the same items of benchmarks, where asked for.

The decision: both answer at the end of the run, the base as the adapter off or as the model that the run started from,
and the difference is reported as every comparison is: with its interval, an exact p corrected for all benchmarks of the
run, and the difference that so many items show at all.
"""

from contextlib import nullcontext
from typing import Any

from pydantic import JsonValue

from tunesmith.errors import DataError
from tunesmith.evaluation import benchmark
from tunesmith.evaluation.compare import compare_tasks
from tunesmith.evaluation.item import Item
from tunesmith.evaluation.task import deciding, load_task
from tunesmith.models.adapters import adapted, disabled
from tunesmith.models.probe import probe
from tunesmith.tokens.encode import Encoder

TOLD = ("metric", "items", "left", "right", "difference", "low", "high", "p", "could_show")
"""What a report says of a comparison."""


def abilities(
    tuned: Any, base: Any | None, encoder: Encoder, tasks: tuple[str, ...], items: int
) -> dict[str, JsonValue]:
    """For each task the comparison of base (left) and tuned (right) by its deciding metric; p is Holm's over all tasks.

    `tuned` and `base` are models; without `base` it is the tuned one with its adapter off.

    Raises:
        UsageError: there is no such task.
        DataError: its files are not there.
    """
    answered: dict[str, tuple[list[Item], list[Item]]] = {}
    chosen = {}
    for name in tasks:
        task, place, subset = load_task(name)
        asked = benchmark.asked(task, place, subset=subset, shots=None, limit=items)
        if not asked:
            raise DataError(f"{name}: the files of this task hold no question.")
        longest = benchmark.longest(encoder, task, asked)
        after = benchmark.items(probe(tuned, longest=longest).network, encoder, task, asked)
        other = base if base is not None else tuned
        with disabled(tuned) if base is None and adapted(tuned) else nullcontext():
            before = benchmark.items(probe(other, longest=longest).network, encoder, task, asked)
        answered[name], chosen[name] = (before, after), deciding(task)
    found = {name: comparison for name, ((comparison,),) in compare_tasks(answered, chosen).items()}
    return {name: {key: getattr(one, key) for key in TOLD} for name, one in found.items()}
