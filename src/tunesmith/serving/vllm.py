"""vLLM in the place of the embedded engine: started here, or running already somewhere.

The decision: vLLM speaks the same API, so a request is handed on as it came, after our guard has let it in, and its
reply is handed back as it comes. A base is what the vLLM serves; an adapter is loaded into it under our own name when
it is first asked for; a whole tuned model needs a vLLM of its own and is refused. Tested against a server that plays
vLLM; not yet run on a GPU.
"""

import os
import subprocess
import threading
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import httpx

from tunesmith.errors import RequestError, UsageError

READY_SECONDS = 1800.0
MOST_ADAPTERS, MOST_RANK = 16, 256
Find = Callable[[str], Path | None]


def command(name: str, source: str, port: int) -> list[str]:
    """The words that start a vLLM for a base and its adapters.

    >>> command("base", "org/model", 8100)[:3]
    ['vllm', 'serve', 'org/model']
    """
    return [
        "vllm", "serve", source, "--served-model-name", name, "--host", "127.0.0.1", "--port", str(port),
        "--enable-lora", "--max-loras", str(MOST_ADAPTERS), "--max-lora-rank", str(MOST_RANK),
        "--enable-prefix-caching",
    ]  # fmt: skip


class Vllm:
    """A vLLM that answers; `find(name)` is the folder of a tuned model."""

    def __init__(self, url: str, bases: Sequence[str], find: Find) -> None:
        self._url, self._bases, self._find = url.rstrip("/"), list(bases), find
        self._process: subprocess.Popen[bytes] | None = None
        self._loaded: set[str] = set()
        self._lock = threading.Lock()
        self._http = httpx.AsyncClient(timeout=httpx.Timeout(600, connect=10))

    @classmethod
    def start(cls, bases: Mapping[str, str], find: Find, port: int) -> "Vllm":
        """A vLLM of our own; it ends with us.

        Raises:
            UsageError: there is more than one base, or vLLM is not installed or does not begin.
        """
        if len(bases) != 1:
            raise UsageError("--engine vllm serves one base: give --model once, or attach with --vllm-url.")
        ((name, source),) = bases.items()
        allowed = {**os.environ, "VLLM_ALLOW_RUNTIME_LORA_UPDATING": "True"}
        try:
            process = subprocess.Popen(command(name, source, port), env=allowed)
        except FileNotFoundError as error:
            raise UsageError("--engine vllm: the command vllm is not here. Install it: `pip install vllm`.") from error
        found = cls(f"http://127.0.0.1:{port}", [name], find)
        found._process = process
        try:
            found.wait()
        except UsageError:
            found.close()
            raise
        return found

    def wait(self, seconds: float = READY_SECONDS) -> None:
        """It answers.

        Raises:
            UsageError: it does not.
        """
        end, tick = time.monotonic() + seconds, threading.Event()
        while time.monotonic() < end and (self._process is None or self._process.poll() is None):
            try:
                if httpx.get(f"{self._url}/health", timeout=5).is_success:
                    return
            except httpx.HTTPError:
                pass
            tick.wait(min(1.0, seconds / 10))
        raise UsageError(f"{self._url}: no vLLM answers there.")

    def ready(self, name: str) -> None:
        """The model of this name can be asked for.

        Raises:
            RequestError: there is none (404), or vLLM cannot take it (400).
        """
        if name in self._bases:
            return
        folder = self._find(name)
        if folder is None:
            raise RequestError(f"The model `{name}` does not exist.", status=404, code="model_not_found", param="model")
        if not (folder / "adapter_config.json").is_file():
            raise RequestError(
                f"{name} is a whole model, which this server's vLLM does not hold. Export it and serve it by itself.",
                code="model_not_served", param="model",
            )  # fmt: skip
        with self._lock:
            if name not in self._loaded:
                self._load(name, folder)
                self._loaded.add(name)

    def forget(self, name: str) -> None:
        """The adapter answers no longer."""
        with self._lock:
            if name in self._loaded:
                httpx.post(f"{self._url}/v1/unload_lora_adapter", json={"lora_name": name}, timeout=60)
                self._loaded.discard(name)

    async def answer(self, path: str, body: bytes) -> tuple[int, str, AsyncIterator[bytes]]:
        """Status, content type and the bytes of the reply to a request, as they come.

        Raises:
            RequestError: vLLM is away (503).
        """
        asked = self._http.build_request(
            "POST", self._url + path, content=body, headers={"content-type": "application/json"}
        )
        try:
            reply = await self._http.send(asked, stream=True)
        except httpx.HTTPError as error:
            raise RequestError("The engine does not answer.", status=503, code="engine_away") from error

        async def pieces() -> AsyncIterator[bytes]:
            try:
                async for piece in reply.aiter_raw():
                    yield piece
            finally:
                await reply.aclose()  # a client that went away frees its place in vLLM too

        return reply.status_code, reply.headers.get("content-type", "application/json"), pieces()

    def close(self) -> None:
        """A vLLM that was started here has ended."""
        if self._process is not None:
            self._process.terminate()
            self._process.wait(60)

    def _load(self, name: str, folder: Path) -> None:
        given: dict[str, Any] = {"lora_name": name, "lora_path": str(folder.absolute())}
        try:
            reply = httpx.post(f"{self._url}/v1/load_lora_adapter", json=given, timeout=300)
        except httpx.HTTPError as error:
            raise RequestError("The engine does not answer.", status=503, code="engine_away") from error
        if not reply.is_success and "already" not in reply.text:
            raise RequestError(
                f"vLLM does not take {name}: {reply.text[:300]} (it has to be started with --enable-lora and "
                "VLLM_ALLOW_RUNTIME_LORA_UPDATING=True).", code="model_not_served", param="model",
            )  # fmt: skip
