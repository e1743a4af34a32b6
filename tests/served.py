"""A real server in a process of its own, on a small random model, for journeys with real clients."""

import os
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tiny_model import chat_file, tiny_model


@dataclass(frozen=True)
class Server:
    """Where it is, the key that it showed, its process, and a file to train on."""

    url: str
    key: str
    process: "subprocess.Popen[str]"
    data: Path

    def environment(self) -> dict[str, str]:
        """What OpenAI's own clients read."""
        return {**os.environ, "OPENAI_BASE_URL": f"{self.url}/v1", "OPENAI_API_KEY": self.key, "DATA": str(self.data)}


@contextmanager
def served(folder: Path, *more: str) -> Iterator[Server]:
    """A server that runs while the block does, and is asked to end afterwards."""
    model = tiny_model(folder / "model")
    data = chat_file(folder / "train.jsonl")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    words = ["serve", "--home", str(folder / "home"), "--port", str(port), "--model", f"tiny={model}", *more]
    log = (folder / "log.txt").open("w")
    process = subprocess.Popen(
        [sys.executable, "-m", "tunesmith", *words], stderr=log, text=True, env={**os.environ, "OMP_NUM_THREADS": "1"}
    )
    try:
        url = f"http://127.0.0.1:{port}"
        _wait(url, process)
        said = (folder / "log.txt").read_text()
        key = next(line.rpartition(" ")[2] for line in said.splitlines() if line.startswith("API key"))
        yield Server(url, key, process, data)
    finally:
        process.terminate()
        process.wait(120)
        log.close()


def _wait(url: str, process: "subprocess.Popen[str]") -> None:
    tick, end = threading.Event(), time.monotonic() + 300
    while time.monotonic() < end and process.poll() is None:
        try:
            with urllib.request.urlopen(f"{url}/readyz", timeout=5) as reply:
                if reply.status == 200:
                    return
        except OSError:
            tick.wait(0.2)
    raise AssertionError("the server did not begin")
