"""A child process that never outlives the worker that watches it.

The decision: the system itself kills the child when its worker dies (`PR_SET_PDEATHSIG` of prctl(2), kept over exec),
so nobody else ever finds a stranger training in a job's folder. Run as a module, this file asks for that and becomes
the command: `python -m tunesmith.jobs.child PARENT COMMAND…`.
"""

import ctypes
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

_PR_SET_PDEATHSIG = 1


class Child:
    """A command at work; what it says goes to a file."""

    def __init__(self, command: Sequence[str], folder: Path, console: Path, stdout: Path | None = None) -> None:
        words = [sys.executable, "-m", "tunesmith.jobs.child", str(os.getpid()), *command]
        with console.open("ab") as said, stdout.open("wb") if stdout else open(os.devnull, "wb") as out:
            self._process = subprocess.Popen(
                words, cwd=folder, stdin=subprocess.DEVNULL, stdout=out, stderr=said, start_new_session=True,
                env={**os.environ, "TOKENIZERS_PARALLELISM": "false"},
            )  # fmt: skip

    @property
    def place(self) -> dict[str, Any]:
        """Which process on which machine it is, for whoever takes the job up after us."""
        return {"host": socket.gethostname(), "pid": self._process.pid, "began": _began(self._process.pid)}

    def wait(self, seconds: float) -> int | None:
        """Its exit code (negative: the signal that ended it), or None while it runs."""
        try:
            return self._process.wait(seconds)
        except subprocess.TimeoutExpired:
            return None

    def ask_to_end(self) -> None:
        """It finishes its step, saves and ends."""
        self._process.terminate()

    def kill(self) -> None:
        """It is gone."""
        self._process.kill()
        self._process.wait()


def end_orphan(place: Mapping[str, Any] | None, patience: float = 60.0) -> None:
    """Nothing of an earlier worker's child is left on this machine: it ends by itself soon, or is killed."""
    if place is None or place.get("host") != socket.gethostname():
        return
    pid, deadline = int(place["pid"]), time.monotonic() + patience
    while _began(pid) == place.get("began") and place.get("began") is not None:
        if time.monotonic() > deadline:
            os.kill(pid, signal.SIGKILL)
        time.sleep(0.05)


def _began(pid: int) -> str | None:
    """When a process began, in ticks since the machine did (field 22 of /proc/PID/stat); None when it is gone."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
    except OSError:
        return None
    return None if fields[0] == "Z" else fields[19]


def become(parent: int, command: Sequence[str]) -> None:
    """This process is `command`, and is killed when the thread that started it ends."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        sys.exit(1)  # the worker died before we could ask
    os.execv(command[0], list(command))


if __name__ == "__main__":
    become(int(sys.argv[1]), sys.argv[2:])
