"""A service whose jobs learn nothing, and its application, called without a network."""

import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest
from fastapi import FastAPI

from tunesmith.jobs.worker import Worker, Workshop
from tunesmith.web.app import create_app
from tunesmith.web.service import Service, Wanted

FAKE = (sys.executable, str(Path(__file__).parents[2] / "fake_tunesmith.py"))


@dataclass
class Client:
    """A client in the same process; `call` sends one request with a key of every right."""

    service: Service
    app: FastAPI
    key: str

    async def call(self, method: str, path: str, **given: object) -> httpx.Response:
        """The reply."""
        headers = {"authorization": f"Bearer {self.key}", **given.pop("headers", {})}  # type: ignore[dict-item]
        transport = httpx.ASGITransport(app=self.app, raise_app_exceptions=False)
        async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as http:
            return await http.request(method, path, headers=headers, **given)  # type: ignore[arg-type]

    def work(self) -> None:
        """Carry out all jobs that wait."""
        shop = Workshop(self.service.store, self.service.home, dict(self.service.wanted.bases), FAKE, poll=0.01)
        worker = Worker(shop, self.service.stop)
        while worker.work_once():
            continue


@pytest.fixture
def client(tmp_path: Path) -> Iterator[Client]:
    """A fresh service with a key of every right."""
    service = Service.of(Wanted(tmp_path, {"base": "base"}, command=FAKE))
    key = service.keys.first()
    assert key is not None
    yield Client(service, create_app(service), key)
    service.close()
