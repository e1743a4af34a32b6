"""A stranger's Python, run where it can do nothing but compute.

The decision: the process keeps a list of the system calls that it may still make (seccomp(2)), and opening, connecting,
starting and signalling are not on it. It holds no file but its input and a small output, and has limits of memory and
processor time. Where the kernel does not offer this, nothing is run. Run as a module, this file is that process.
"""

import ctypes
import json
import platform
import resource
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

SECONDS, MEMORY, OUTPUT = 5, 1 << 30, 1 << 16
MODULES = (
    "bisect", "collections", "datetime", "decimal", "difflib", "fractions", "functools", "heapq", "itertools", "json",
    "math", "operator", "random", "re", "statistics", "string", "textwrap", "typing", "unicodedata",
)  # fmt: skip
"""What a grader may import; it is loaded beforehand."""

# Numbers of Linux on x86-64: read write close fstat lseek mmap mprotect munmap brk rt_sigaction rt_sigprocmask
# rt_sigreturn mremap madvise getpid exit gettimeofday getrusage sigaltstack futex clock_gettime exit_group getrandom
_ALLOWED = (0, 1, 3, 5, 8, 9, 10, 11, 12, 13, 14, 15, 25, 28, 39, 60, 96, 98, 131, 202, 228, 231, 318)
_ARCHITECTURE, _NO_NEW_PRIVILEGES, _SECCOMP, _FILTER = 0xC000003E, 38, 22, 2
_LOAD, _EQUAL, _RETURN, _KILL, _REFUSE, _ALLOW = 0x20, 0x15, 0x06, 0x80000000, 0x00050001, 0x7FFF0000


class GraderFault(Exception):
    """The source could not be run, or went beyond a limit; the message is for its author."""


def can_confine() -> bool:
    """Whether this machine offers what is needed."""
    if sys.platform != "linux" or platform.machine() != "x86_64":
        return False
    try:
        return grade("def grade(sample, item):\n    return 1.0", {}, {}) == 1.0
    except GraderFault:
        return False


def grade(source: str, sample: dict[str, Any], item: dict[str, Any]) -> float:
    """What `grade(sample, item)` of this source returns.

    Raises:
        GraderFault: it raises, returns no number, or takes too long or too much.
    """
    given = json.dumps({"source": source, "sample": sample, "item": item}).encode()
    with tempfile.TemporaryFile() as out:
        try:
            done = subprocess.run(
                [sys.executable, "-I", "-S", str(Path(__file__))], input=given, stdout=out, stderr=subprocess.DEVNULL,
                timeout=2 * SECONDS, check=False, env={}, cwd="/",
            )  # fmt: skip
        except subprocess.TimeoutExpired as error:
            raise GraderFault(f"it ran longer than {SECONDS} seconds") from error
        out.seek(0)
        said = out.read(OUTPUT)
    try:
        reply = json.loads(said.splitlines()[-1])
        return float(reply["reward"]) if "reward" in reply else _raise(str(reply["fault"]))
    except (ValueError, LookupError, TypeError) as error:
        raise GraderFault(f"it was ended by a limit (code {done.returncode})") from error


def _raise(fault: str) -> float:
    raise GraderFault(fault)


class _Instruction(ctypes.Structure):
    _fields_ = (("code", ctypes.c_ushort), ("jt", ctypes.c_ubyte), ("jf", ctypes.c_ubyte), ("k", ctypes.c_uint))


class _Program(ctypes.Structure):
    _fields_ = (("len", ctypes.c_ushort), ("filter", ctypes.POINTER(_Instruction)))


def _lock() -> None:
    """From now on only the allowed system calls do anything."""
    lines = [(_LOAD, 0, 0, 4), (_EQUAL, 1, 0, _ARCHITECTURE), (_RETURN, 0, 0, _KILL), (_LOAD, 0, 0, 0)]
    for number in _ALLOWED:
        lines += [(_EQUAL, 0, 1, number), (_RETURN, 0, 0, _ALLOW)]
    lines.append((_RETURN, 0, 0, _REFUSE))
    rules = (_Instruction * len(lines))(*(_Instruction(*line) for line in lines))
    program = _Program(len(lines), rules)
    libc = ctypes.CDLL(None, use_errno=True)
    asked = libc.prctl(_NO_NEW_PRIVILEGES, 1, 0, 0, 0)
    if asked or libc.prctl(_SECCOMP, _FILTER, ctypes.byref(program), 0, 0):
        raise OSError("seccomp")


def _main() -> None:
    given = json.loads(sys.stdin.buffer.read())
    for name in MODULES:
        __import__(name)
    for kind, most in (
        (resource.RLIMIT_CPU, SECONDS), (resource.RLIMIT_AS, MEMORY), (resource.RLIMIT_FSIZE, OUTPUT),
        (resource.RLIMIT_CORE, 0),
    ):  # fmt: skip
        resource.setrlimit(kind, (most, most))
    _lock()
    try:
        space: dict[str, Any] = {"__name__": "grader"}
        exec(compile(given["source"], "grader", "exec"), space)
        reply = {"reward": float(space["grade"](given["sample"], given["item"]))}
    except BaseException as error:
        reply = {"fault": f"{type(error).__name__}: {error}"[:500]}  # type: ignore[dict-item]
    sys.stdout.write("\n" + json.dumps(reply))
    sys.stdout.flush()


if __name__ == "__main__":
    _main()
