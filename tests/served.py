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

import httpx
from tiny_model import chat_file, tiny_model


@dataclass(frozen=True)
class Server:
    """Where it is, the key that it showed, its process, and a file to train on."""

    url: str
    key: str
    process: "subprocess.Popen[str]"
    data: Path

    def tuned(self) -> str:
        """The name of a model that a job has just made, for clients that only talk."""
        api = httpx.Client(base_url=f"{self.url}/v1", headers={"authorization": f"Bearer {self.key}"}, timeout=60)
        with api, self.data.open("rb") as data:
            file = api.post("/files", files={"file": data}, data={"purpose": "fine-tune"}).json()["id"]
            asked = {"model": "tiny", "training_file": file, "hyperparameters": {"n_epochs": 1}}
            id, tick = api.post("/fine_tuning/jobs", json=asked).json()["id"], threading.Event()
            while not (job := api.get(f"/fine_tuning/jobs/{id}").json())["finished_at"]:
                tick.wait(0.5)
        assert job["status"] == "succeeded", job["error"]
        return str(job["fine_tuned_model"])

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
    with (folder / "log.txt").open("w") as log, (folder / "said.txt").open("w") as said:
        process = subprocess.Popen(
            [sys.executable, "-m", "tunesmith", *words], stdout=said, stderr=log, text=True,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
        )  # fmt: skip
    try:
        url = f"http://127.0.0.1:{port}"
        _wait(url, process)
        told = (folder / "said.txt").read_text()
        key = next(line.rpartition(" ")[2] for line in told.splitlines() if line.startswith("API key"))
        yield Server(url, key, process, data)
    finally:
        process.terminate()
        process.wait(120)


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
