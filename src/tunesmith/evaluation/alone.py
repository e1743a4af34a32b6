"""The process in which the code of an answer meets its tests; `execution` starts it. It imports nothing of ours.

The decision: three processes. The outer one enters new namespaces, where it is told to; the keeper is the first process
in them and waits; the worker has the limits, runs the answer and then its tests, and only behind the last test fetches
the token and writes it. When the keeper ends, whatever the worker left running ends with it: by the kernel, where there
is a namespace of processes; else the keeper, to whom all orphans come (PR_SET_CHILD_SUBREAPER), kills them one by one.

    python -I -B alone.py SECONDS LEVEL     code, tests and token, each behind its length, on stdin; the token on stdout
"""

import ctypes
import os
import resource
import signal
import sys
import types
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

LEVELS = ("closed", "apart", "near")
"""Namespaces and files that cannot be written; namespaces alone; neither."""
MEMORY, FILE, OPEN, PROCESSES = 1 << 30, 1 << 20, 32, 64
INSIDE = 1000
"""Who the program is in its namespace: nobody who may do more there."""
_NAMESPACES = 0x10000000 | 0x20000000 | 0x40000000 | 0x08000000 | 0x00020000  # user, processes, network, IPC, mounts
_RECURSIVE_PRIVATE, _BIND = 0x4000 | 0x40000, 0x1000
_MOUNT_SETATTR, _HERE, _RECURSIVELY, _READ_ONLY = 442, -100, 0x8000, 1
_DEATH_SIGNAL, _SUBREAPER, _NO_NEW_PRIVILEGES, _CAPABILITIES_3 = 1, 36, 38, 0x20080522
_libc: Any = ctypes.CDLL(None, use_errno=True)


def main(seconds: int, level: str) -> None:
    """The outer process, and, in its forked children, the other two."""
    if level != "near":
        _enter_namespaces(read_only=level == "closed")
    keeper = os.fork()
    if keeper:
        os._exit(0 if os.waitpid(keeper, 0)[1] == 0 else 1)
    # In its namespace nothing but the kernel's own SIGKILL reaches the first process.
    _prctl(_DEATH_SIGNAL, signal.SIGTERM if level == "near" else signal.SIGKILL)
    _prctl(_SUBREAPER, 1)
    for number in (signal.SIGTERM, signal.SIGALRM):
        signal.signal(number, _stopped)
    worker = os.fork()
    if worker:
        _keep(worker, seconds, level)
    _confine(seconds, level)
    _work()


def _keep(worker: int, seconds: int, level: str) -> None:
    """Wait for the worker, as long as it may take, and end what is left; never returns."""
    passed = False
    signal.setitimer(signal.ITIMER_REAL, seconds + 1)
    with suppress(TimeoutError):
        passed = os.waitpid(worker, 0)[1] == 0
        signal.setitimer(signal.ITIMER_REAL, 0)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    if level == "near":
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(worker, signal.SIGKILL)
        while children := list(_children()):
            for child in children:
                os.kill(child, signal.SIGKILL)
                os.waitpid(child, 0)
    os._exit(0 if passed else 1)


def _stopped(number: int, frame: types.FrameType | None) -> None:
    raise TimeoutError


def _children() -> Iterator[int]:
    for place in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):  # it has ended in between
            if int(place.read_text(errors="replace").rpartition(")")[2].split()[1]) == os.getpid():
                yield int(place.parent.name)


def _work() -> None:
    """Run the answer, then its tests in the same module, and say so."""
    given, out, nowhere = os.dup(0), os.dup(1), os.open(os.devnull, os.O_RDWR)
    for number in (0, 1, 2):
        os.dup2(nowhere, number)
    os.close(nowhere)
    sys.argv = [""]
    module = sys.modules["__main__"] = types.ModuleType("__main__")
    exec(compile(_part(given), "<answer>", "exec"), module.__dict__)
    try:
        exec(compile(_part(given), "<tests>", "exec"), module.__dict__)
    except SystemExit as end:  # unittest.main() ends in this way, and so does an answer that would rather not be tested
        if end.code or "<answer>" in _files(end):
            raise
    os.write(out, _part(given))


def _part(given: int) -> bytes:
    return os.read(given, int.from_bytes(os.read(given, 8), "little"))


def _files(error: BaseException) -> set[str]:
    """The files of all frames that the error came through."""
    found, trace = set(), error.__traceback__
    while trace is not None:
        found.add(trace.tb_frame.f_code.co_filename)
        trace = trace.tb_next
    return found


def _confine(seconds: int, level: str) -> None:
    """From here on the worker is in a group of its own, and has the limits and no rights of its namespace."""
    os.setpgid(0, 0)
    _prctl(_DEATH_SIGNAL, signal.SIGKILL)
    for number in (signal.SIGTERM, signal.SIGALRM):
        signal.signal(number, signal.SIG_DFL)
    limits = [
        (resource.RLIMIT_CPU, seconds),
        (resource.RLIMIT_AS, MEMORY),
        (resource.RLIMIT_FSIZE, FILE),
        (resource.RLIMIT_NOFILE, OPEN),
        (resource.RLIMIT_CORE, 0),
    ]
    if level != "near":  # elsewhere everything that the user runs would count
        limits.append((resource.RLIMIT_NPROC, PROCESSES))
        _must(_libc.capset((ctypes.c_uint32 * 2)(_CAPABILITIES_3, 0), (ctypes.c_uint32 * 6)()))
    for kind, most in limits:
        resource.setrlimit(kind, (most, most))
    _prctl(_NO_NEW_PRIVILEGES, 1)


def _enter_namespaces(*, read_only: bool) -> None:
    """No network, for the children no other process, and, if `read_only`, no file to write outside this folder.

    Raises:
        OSError, AttributeError: the kernel does not allow it.
    """
    user, group, here = os.getuid(), os.getgid(), os.getcwd().encode()
    _must(_libc.unshare(_NAMESPACES))
    for name, text in (("setgroups", "deny"), ("uid_map", f"{INSIDE} {user} 1"), ("gid_map", f"{INSIDE} {group} 1")):
        Path("/proc/self", name).write_text(text)
    if not read_only:
        return
    _must(_libc.mount(None, b"/", None, _RECURSIVE_PRIVATE, None))
    _must(_libc.mount(here, here, None, _BIND, None))
    _set_mount(b"/", _RECURSIVELY, add=_READ_ONLY)
    _set_mount(here, 0, remove=_READ_ONLY)
    _libc.mount(b"tmpfs", b"/dev/shm", b"tmpfs", 0, b"size=64m")  # where there is none, nothing is lost
    os.chdir(here)


def _set_mount(place: bytes, how: int, *, add: int = 0, remove: int = 0) -> None:
    attributes = (ctypes.c_uint64 * 4)(add, remove, 0, 0)
    _must(_libc.syscall(_MOUNT_SETATTR, _HERE, place, how, attributes, ctypes.sizeof(attributes)))


def _prctl(option: int, value: int) -> None:
    if sys.platform == "linux":
        _must(_libc.prctl(option, value, 0, 0, 0))


def _must(result: int) -> None:
    if result:
        raise OSError(ctypes.get_errno(), "the kernel refused")


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2])
