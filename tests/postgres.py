"""A PostgreSQL server for tests, from the programs that this machine has; None where it has none."""

import glob
import os
import pwd
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


def program(name: str) -> str | None:
    """Where a program of PostgreSQL is."""
    return shutil.which(name) or next(iter(sorted(glob.glob(f"/usr/lib/postgresql/*/bin/{name}"), reverse=True)), None)


@contextmanager
def server() -> Iterator[str | None]:
    """The URL of an empty database on a server that lives as long as the block; it listens on a socket alone."""
    initdb, control = program("initdb"), program("pg_ctl")
    user = "postgres" if os.getuid() == 0 else None
    if initdb is None or control is None or (user is not None and user not in {p.pw_name for p in pwd.getpwall()}):
        yield None
        return
    with tempfile.TemporaryDirectory(prefix="pg") as folder:
        place = Path(folder)
        if user is not None:
            shutil.chown(place, user)
        quiet = {"user": user, "check": True, "stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, "cwd": place}
        subprocess.run([initdb, "-D", str(place / "data"), "-U", "tunesmith", "-A", "trust", "--no-sync"], **quiet)  # type: ignore[call-overload]
        options = f"-k {place} -c listen_addresses='' -c fsync=off -c max_connections=200"
        command = [control, "-D", str(place / "data"), "-o", options, "-l", str(place / "log"), "-w"]
        subprocess.run([*command, "start"], **quiet)  # type: ignore[call-overload]
        try:
            yield f"postgresql://tunesmith@/postgres?host={place}"
        finally:
            subprocess.run([*command, "-m", "immediate", "stop"], **quiet)  # type: ignore[call-overload]
