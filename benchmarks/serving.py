"""Requests per second and time to the first token, beside `transformers serve` and llama.cpp's server.

The decision: every server runs alone, on the same threads, with the same float32 weights; each client sends its next
request when its last one has ended; all stream, greedily, and each answer has the tokens that were asked for or ends
by itself before; a row is void where all its answers together are longer or shorter than ours by more than a twentieth.
The prompts begin with one system message, as those of a real service do (`--system 0`
leaves it away). Answers are compared with Tunesmith's, which runs first. On a machine with other work the server's own
seconds of processor time say more than the clock.

    python benchmarks/serving.py --clients 1 4 16 --requests 32 --tokens 64 --threads 2 \
        --llama-python ENVIRONMENT/bin/python --gguf smollm2-f32.gguf

The environment is made by `pip install 'llama-cpp-python[server]'`, the file by llama.cpp's own
`convert_hf_to_gguf.py FOLDER --outtype f32 --outfile smollm2-f32.gguf` (FOLDER: where `tunesmith` keeps the model).
`transformers serve` comes from this environment; it runs as it is by default, and with `--continuous-batching`.
"""

import argparse
import asyncio
import json
import os
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import httpx

from tunesmith.models.sources import resolve

MODEL = "smollm2-135m-instruct"
SYSTEM = (
    "You answer for a shop that sells bicycles and parts. Say what the customer can do now, what we do, and when they "
    "hear from us. Name the order if they named it, never promise a refund, and stay friendly whatever they write. "
)
TOPICS = (
    "a late parcel",
    "a broken pedal",
    "a wrong size",
    "an invoice",
    "a lost key",
    "a flat tyre",
    "a refund",
    "a gift",
)
READY_SECONDS = 300


@dataclass(frozen=True)
class Server:
    """How a server is started, what it calls the model, and what its requests carry beside."""

    name: str
    command: Sequence[str]
    model: str
    key: str = "none"
    process: int = 0

    def used(self) -> float:
        """Seconds of processor time that its process has used (fields 14 and 15 of /proc/PID/stat)."""
        fields = Path(f"/proc/{self.process}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True)
class Answered:
    """One answer: seconds until its first token and until its end, its tokens, its text."""

    first: float
    whole: float
    tokens: int
    text: str


def servers(given: argparse.Namespace, home: Path, port: int) -> list[Server]:
    """Those that were asked for and are there."""
    folder, python = str(resolve(MODEL).folder), sys.executable
    hugging = [str(Path(python).with_name("transformers")), "serve", folder, "--device", "cpu", "--dtype", "float32"]
    hugging += ["--port", str(port)]
    ours = [python, "-m", "tunesmith", "serve", "--home", str(home), "--workers", "0", "--port", str(port)]
    found = [
        Server("tunesmith", ours, MODEL),
        Server("transformers serve", hugging, folder),
        Server("transformers serve, continuous batching", [*hugging, "--continuous-batching"], folder),
    ]
    if given.llama_python and given.gguf:
        threads = str(given.threads)
        llama = [given.llama_python, "-m", "llama_cpp.server", "--model", given.gguf, "--port", str(port)]
        llama += ["--n_ctx", "2048", "--n_threads", threads, "--n_threads_batch", threads]
        llama += ["--interrupt_requests", "False"]  # it answers one at a time; by default the next one ends the last
        found.append(Server("llama-cpp-python", llama, "smollm2"))
    return [server for server in found if any(server.name.startswith(name) for name in given.only)]


@contextmanager
def running(server: Server, port: int, threads: int, folder: Path) -> Iterator[Server]:
    """The server, once it has a port; ended afterwards with all that it started."""
    out, log = folder / "said.txt", folder / "log.txt"
    environment = {**os.environ, "OMP_NUM_THREADS": str(threads), "HF_HUB_OFFLINE": "1"}
    with out.open("w") as said, log.open("w") as told:
        process = subprocess.Popen(server.command, stdout=said, stderr=told, env=environment, start_new_session=True)
    try:
        end = time.monotonic() + READY_SECONDS
        while process.poll() is None and time.monotonic() < end:
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", port)) == 0:
                    break
            time.sleep(0.2)
        if process.poll() is not None:
            raise RuntimeError(f"{server.name} did not begin: {log.read_text()[-500:]}")
        keys = [line.rpartition(" ")[2] for line in out.read_text().splitlines() if line.startswith("API key")]
        yield replace(server, key=keys[0] if keys else "none", process=process.pid)
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGTERM)
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def asked(number: int, system: bool) -> list[dict[str, str]]:
    """The messages of a request; each is another one."""
    question = f"Message {number}: I write about {TOPICS[number % len(TOPICS)]}, order {1000 + number}. What do I do?"
    return [*([{"role": "system", "content": SYSTEM * 2}] if system else []), {"role": "user", "content": question}]


async def ask(http: httpx.AsyncClient, server: Server, number: int, given: argparse.Namespace) -> Answered:
    """One streamed answer. Its tokens are those that the server counts, or else its pieces, one a token."""
    body: dict[str, Any] = {
        "model": server.model, "messages": asked(number, bool(given.system)), "max_tokens": given.tokens,
        "temperature": 0, "stream": True, "stream_options": {"include_usage": True},
    }  # fmt: skip
    if server.name == "llama-cpp-python":
        del body["stream_options"]
        body["repeat_penalty"] = 1.0
    began, first, pieces, counted, text = time.perf_counter(), 0.0, 0, 0, ""
    async with http.stream("POST", "/v1/chat/completions", json=body) as reply:
        if reply.status_code != 200:
            raise RuntimeError(f"{server.name}: {(await reply.aread())[:300]!r}")
        async for line in reply.aiter_lines():
            if not line.startswith("data: {"):
                continue
            chunk = json.loads(line[6:])
            counted = (chunk.get("usage") or {}).get("completion_tokens") or counted
            piece = "".join(choice["delta"].get("content") or "" for choice in chunk.get("choices") or ())
            pieces += bool(piece)
            first = first or (time.perf_counter() - began if piece else 0.0)
            text += piece
    return Answered(first, time.perf_counter() - began, counted or pieces, text)


@dataclass(frozen=True)
class Load:
    """What so many clients measured: seconds by the clock and of the server's processor time, answers in order."""

    clients: int
    seconds: float
    used: float
    answers: list[Answered]


async def load(server: Server, port: int, clients: int, given: argparse.Namespace) -> Load:
    """All requests, sent by so many clients."""
    waiting, answers = iter(range(given.requests)), dict[int, Answered]()
    headers = {"authorization": f"Bearer {server.key}"}
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", headers=headers, timeout=600) as http:

        async def client() -> None:
            for number in waiting:
                answers[number] = await ask(http, server, number, given)

        for number in (-2, -1):  # the model is loaded, and the system message has been seen
            await ask(http, server, number, given)
        began, used = time.perf_counter(), server.used()
        await asyncio.gather(*(client() for _ in range(clients)))
        seconds, used = time.perf_counter() - began, server.used() - used
    return Load(clients, seconds, used, [answers[number] for number in sorted(answers)])


def row(server: Server, found: Load, reference: list[Answered]) -> str:
    """A line of the table; `reference` are our answers to the same requests."""
    firsts, count = sorted(answer.first for answer in found.answers), len(found.answers)
    late = firsts[min(count - 1, round(0.95 * count))]
    same = sum(answer.text == other.text for answer, other in zip(found.answers, reference, strict=True)) / count
    tokens, ours = (sum(answer.tokens for answer in answers) for answers in (found.answers, reference))
    void = "" if abs(tokens - ours) <= ours / 20 else f" **void: {tokens} tokens, ours {ours}**"
    rate, first = tokens / found.seconds, statistics.median(firsts)
    return (
        f"| {server.name} | {found.clients} | {count / found.seconds:.2f} | {rate:.1f} | {first:.2f} | {late:.2f} "
        f"| {found.used / count:.2f} | {same:.0%}{void} |"
    )


def main(given: argparse.Namespace) -> None:
    """Print a line for each server and number of clients."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    print(f"{given.requests} requests, up to {given.tokens} tokens each, {given.threads} threads, float32, {MODEL}\n")
    print("| server | clients | requests/s | tokens/s | first token s | 95 % | CPU s a request | answers as ours |")
    print("|---|---|---|---|---|---|---|---|", flush=True)
    reference: list[Answered] = []
    with tempfile.TemporaryDirectory() as folder:
        for server in servers(given, Path(folder) / "home", port):
            try:
                with running(server, port, given.threads, Path(folder)) as begun:
                    for clients in given.clients:
                        found = asyncio.run(load(begun, port, clients, given))
                        reference = reference or found.answers
                        print(row(begun, found, reference), flush=True)
            except (RuntimeError, httpx.HTTPError) as error:
                print(f"| {server.name} | did not answer: {' '.join(str(error).split())[-300:]} |", flush=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--clients", type=int, nargs="+", default=[1, 4, 16])
    parser.add_argument("--requests", type=int, default=32)
    parser.add_argument("--tokens", type=int, default=64)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--system", type=int, default=1, help="0: no common system message")
    parser.add_argument("--only", nargs="+", default=[""], help="servers whose names begin so")
    parser.add_argument("--llama-python")
    parser.add_argument("--gguf")
    main(parser.parse_args())
