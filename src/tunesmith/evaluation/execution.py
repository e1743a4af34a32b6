"""Does the code of an answer do what its tests ask: run in a child that can do little, and never unless asked for.

The decision: an answer passes if a token, made for this run, comes back, and the child that runs it (`alone`) fetches
it only behind the last test; so ending early, by `sys.exit(0)` or `os._exit(0)`, passes nothing. What else it can do is
tried once, from the strictest level down, and told by `containment`:

- On Linux with user namespaces it has no network and no other process to signal, nothing that it started outlives it,
  and it has at most 64 processes (those of root are not counted). With mounts besides, it writes no file outside an
  empty folder that is thrown away.
- Without namespaces it has the network, the files and, through /proc, the environment of its user, and nothing limits
  how many processes it starts; they are killed behind it, on systems other than Linux only those that stayed in its
  group.
- Everywhere it is handed no environment, and has limits of time and memory (of each process) and of the size of a file.

Not contained: it reads what its user may read, and a program that looks for the token in its own open files, or bends
what its tests call, passes. This is a wall against accidents and short cuts, not against an attacker, so nothing here
runs unless `TUNESMITH_RUN_CODE=1` says that answers may be run on this machine.

pass@k: Chen et al., 2021, "Evaluating Large Language Models Trained on Code", https://arxiv.org/abs/2107.03374.
"""

import math
import os
import re
import secrets
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path

import numpy as np

from tunesmith.errors import UsageError
from tunesmith.evaluation import alone
from tunesmith.evaluation.intervals import Array
from tunesmith.evaluation.item import Item

ALLOWED = "TUNESMITH_RUN_CODE"
SECONDS = 5
_GRACE = 10
"""Seconds after its limit in which the child ends what is left; then it is killed."""
_CONTAINED = {
    "closed": "without network, and with no file to write outside an empty folder",
    "apart": "without network, but it may write any file that you may",
    "near": "with your network and your files: this kernel offers no namespaces",
}
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
    """Whether the code and then its tests run to their end without an error, within the limits.

    Raises:
        UsageError: running code has not been allowed, or cannot be done here.
    """
    require_allowed()
    return _passes(code, tests, seconds, _level())


def containment() -> str:
    """How answers run on this machine, as the end of a sentence.

    Raises:
        UsageError: as `passes`.
    """
    require_allowed()
    return _CONTAINED[_level()]


@cache
def _level() -> str:
    """The strictest level at which a program that does nothing passes here."""
    for level in alone.LEVELS:
        if _passes("", "assert True", SECONDS, level):
            return level
    raise UsageError(
        f"{sys.executable} cannot be run with limits here, so no answer could pass. Leave this metric away."
    )


def _passes(code: str, tests: str, seconds: int, level: str) -> bool:
    token = secrets.token_bytes(16)
    with tempfile.TemporaryDirectory() as folder, tempfile.TemporaryFile() as given, tempfile.TemporaryFile() as out:
        for part in (code.encode(errors="surrogatepass"), tests.encode(errors="surrogatepass"), token):
            given.write(len(part).to_bytes(8, "little") + part)
        given.seek(0)
        child = subprocess.Popen(
            [sys.executable, "-I", "-B", str(Path(alone.__file__)), str(seconds), level],
            cwd=folder,
            env={"PATH": "/nowhere", "HOME": folder, "TMPDIR": folder},
            stdin=given,
            stdout=out,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        try:
            passed = child.wait(timeout=seconds + _GRACE) == 0
        except subprocess.TimeoutExpired:
            return False
        finally:
            child.kill()  # if it has not ended, all of it is told by the kernel
            child.wait()
        out.seek(0)
        return passed and out.read() == token


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
    """What gives [questions, 2] for pass@k: the chance of each question, and 1; its answers are counted together."""

    def columns(items: Sequence[Item]) -> Array:
        results: dict[tuple[str, str], list[bool]] = {}
        for item in items:
            results.setdefault((item.prompt, item.reference), []).append(code_runs(item))
        return np.array([(pass_at(k, found), 1.0) for found in results.values()], dtype=np.float64).reshape(-1, 2)

    return columns
