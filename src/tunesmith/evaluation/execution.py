"""Does the code of an answer do what its tests ask: run in a child that can do little, and never unless asked for.

The decision: a child process without the environment, in an empty folder, with limits on time, memory, files and
processes that the kernel keeps. That stops accidents and endless loops, not an attacker: it is no jail, so nothing here
runs unless `TUNESMITH_RUN_CODE=1` says that answers may be run on this machine.

pass@k: Chen et al., 2021, "Evaluating Large Language Models Trained on Code", https://arxiv.org/abs/2107.03374.
"""

import math
import os
import re
import resource
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from contextlib import suppress

import numpy as np

from tunesmith.errors import UsageError
from tunesmith.evaluation.intervals import Array
from tunesmith.evaluation.item import Item

ALLOWED = "TUNESMITH_RUN_CODE"
SECONDS = 5
MEMORY = 1 << 30
FILE = 1 << 20
_FENCE = re.compile(r"```(?:python|py)?\n(.*?)```", re.DOTALL)


def require_allowed() -> None:
    """Return only if the user has said that code of answers may run here.

    Raises:
        UsageError: nobody has.
    """
    if os.environ.get(ALLOWED) != "1":
        raise UsageError(
            "This metric runs what the model writes on this machine, in a child with limits but no jail. "
            f"Set {ALLOWED}=1 to allow it, best inside a container."
        )


def code_of(answer: str) -> str:
    """The code of an answer: its first fenced block, else all of it."""
    found = _FENCE.search(answer)
    return found.group(1) if found else answer


def passes(code: str, tests: str, *, seconds: int = SECONDS) -> bool:
    """Whether the code followed by its tests ends without an error, within the limits.

    Raises:
        UsageError: running code has not been allowed.
    """
    require_allowed()
    with tempfile.TemporaryDirectory() as folder:
        child = subprocess.Popen(
            [sys.executable, "-I", "-B", "-c", f"{code}\n\n{tests}\n"],
            cwd=folder,
            env={"PATH": "/nowhere", "HOME": folder},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            preexec_fn=lambda: _limit(seconds),  # the child is ours and has one thread when this runs
            start_new_session=True,
        )
        try:
            return child.wait(timeout=seconds + 1) == 0
        except subprocess.TimeoutExpired:
            return False
        finally:
            _end(child)


def pass_at(k: int, results: Sequence[bool]) -> float:
    """The chance that one of `k` answers passes, from so many tried: 1 − C(n − c, k) / C(n, k), without bias.

    >>> pass_at(1, [True, False, False, False])
    0.25
    """
    n, c = len(results), sum(results)
    if not 1 <= k <= n:
        raise UsageError(f"pass@{k} needs {k} answers or more, and there are {n}.")
    return 1.0 - math.comb(n - c, k) / math.comb(n, k)


def code_runs(item: Item) -> bool:
    """Whether an item's code passes the tests that are its reference: a fenced block, or what goes on its prompt."""
    code = code_of(item.answer)
    return passes(code if code != item.answer else item.prompt + code, item.reference)


def pass_at_columns(k: int) -> Callable[[Sequence[Item]], Array]:
    """What gives [n, 2] for pass@k: the chance of each question stands at its first answer, the others count 0."""

    def columns(items: Sequence[Item]) -> Array:
        places: dict[tuple[str, str], list[int]] = {}
        for place, item in enumerate(items):
            places.setdefault((item.prompt, item.reference), []).append(place)
        table = np.zeros((len(items), 2))
        for of_question in places.values():
            table[of_question[0]] = pass_at(k, [code_runs(items[i]) for i in of_question]), 1
        return table

    return columns


def _limit(seconds: int) -> None:
    for kind, most in (
        (resource.RLIMIT_CPU, seconds),
        (resource.RLIMIT_AS, MEMORY),
        (resource.RLIMIT_FSIZE, FILE),
        (resource.RLIMIT_NOFILE, 32),
        (resource.RLIMIT_CORE, 0),
    ):
        resource.setrlimit(kind, (most, most))


def _end(child: "subprocess.Popen[bytes]") -> None:
    """Nothing that the child started outlives it."""
    with suppress(ProcessLookupError):  # it and all that it started may have ended
        os.killpg(child.pid, signal.SIGKILL)
    child.wait()
