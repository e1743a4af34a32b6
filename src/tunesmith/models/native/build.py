"""Code in C, compiled for this processor when it is first needed.

The decision: nothing is shipped compiled and nothing is kept. The machine's C compiler (`CC`, else `cc`) takes half a
second, in a folder that only this user can read and that is gone before the code is used: it can be neither stale nor
somebody else's, and it is made for the very processor. It shares the threads of torch's own OpenMP, since two pools of
threads would wait for each other. Where anything of this is missing there is no code, and its caller has another way.
"""

import ctypes
import os
import shlex
import subprocess
import tempfile
from functools import cache
from pathlib import Path

import torch

_HERE = Path(__file__).parent
_FLAGS = ("-O3", "-march=native", "-fPIC", "-fopenmp")
_SECONDS = 60


def compiled(source: str) -> ctypes.CDLL | None:
    """The functions of a source beside this file; None where they cannot be had."""
    openmp = threads()
    if openmp is None or not compiler():
        return None
    try:
        with tempfile.TemporaryDirectory(prefix="tunesmith-") as folder:
            made, library = Path(folder) / "made.o", Path(folder) / "library.so"
            _run(*_FLAGS, "-c", str(_HERE / source), "-o", str(made))
            # Linked without -fopenmp, which would bring the compiler's own beside torch's.
            _run("-shared", str(made), str(openmp), "-lm", "-o", str(library))
            return ctypes.CDLL(str(library))
    except (OSError, subprocess.SubprocessError):
        return None


def threads() -> Path | None:
    """The library of threads that torch brought along; None where it uses another one."""
    return next(iter(sorted((Path(torch.__file__).parent / "lib").glob("libgomp*"))), None)


@cache
def compiler() -> str:
    """The compiler and its version, in one line; empty where there is none."""
    try:
        return _run("--version").partition("\n")[0] if _compiler() else ""
    except (OSError, subprocess.SubprocessError):
        return ""


def _compiler() -> list[str]:
    return shlex.split(os.environ.get("CC", "cc"))


def _run(*arguments: str) -> str:
    done = subprocess.run(
        [*_compiler(), *arguments],
        check=True,
        capture_output=True,
        text=True,
        timeout=_SECONDS,
        stdin=subprocess.DEVNULL,
    )
    return done.stdout
